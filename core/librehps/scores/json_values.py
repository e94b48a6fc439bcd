"""Values of Arrow columns as JSON has them."""

import math
from base64 import b64encode
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from librehps.rowfiles.nanoseconds import python_values


def plain_values(column: Any) -> list[Any]:
    """Return the values of an Arrow column as JSON has them: NaN as None, dates as text."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        return plain_values(column.cast(kind.value_type))
    if pa.types.is_decimal(kind):
        column = column.cast(pa.float64())
    elif pa.types.is_floating(kind) and kind.bit_width < 64:
        # Through text: the fewest digits that still give this number.
        column = column.cast(pa.string()).cast(pa.float64())
    elif pa.types.is_temporal(kind) and not pa.types.is_duration(kind):
        column = column.cast(pa.string())
    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_finite(column), column, None)
    values = python_values(column)
    return [_finite(value) for value in values] if pa.types.is_nested(kind) else values


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def as_text_value(value: Any) -> str:
    """Return a value that JSON has no type for as text: bytes as base64."""
    if isinstance(value, bytes):
        return b64encode(value).decode()
    return str(value)
