"""Values of Arrow columns with times in nanoseconds, which Python holds only with pandas."""

import re
from collections.abc import Callable, Sequence
from typing import Any

# Text of a time that needs no nanoseconds.
_IS_WHOLE = re.compile(r"\.\d{6}000")
# Arrow's text of an offset: `Z`, `+0200`; Python's: `+00:00`, `+02:00`.
_OFFSET, _AS_PYTHON = re.compile(r"([+-]\d\d)(\d\d)$"), r"\1:\2"


def python_values(column: Any) -> list[Any]:
    """Return the values of an Arrow column; a time that needs nanoseconds is text, a duration cut.

    The value of a time does not depend on the other times of the column.
    """
    import pyarrow as pa

    coarse = _mapped(column.type, _in_microseconds)
    try:
        found = column if coarse == column.type else column.cast(coarse)
    except pa.ArrowInvalid:
        texts = column.cast(_mapped(column.type, _as_text), safe=False).to_pylist()
        return list(map(_fine, column.cast(coarse, safe=False).to_pylist(), texts))
    values: list[Any] = found.to_pylist()
    return values


def _fine(value: Any, text: Any) -> Any:
    """Return the value, with the text of each time in it that needs nanoseconds."""
    if isinstance(value, dict):
        return {name: _fine(part, text[name]) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(_fine, value, text))
    if type(value) is type(text) or _IS_WHOLE.search(text):
        return value
    return _OFFSET.sub(_AS_PYTHON, text.replace("Z", "+00:00"))


def _in_microseconds(kind: Any) -> Any:
    """Return the type in microseconds of a type in nanoseconds."""
    import pyarrow as pa

    if pa.types.is_timestamp(kind):
        return pa.timestamp("us", kind.tz)
    return pa.duration("us") if pa.types.is_duration(kind) else pa.time64("us")


def _as_text(kind: Any) -> Any:
    """Return text for a type of times, of which Arrow has the text; a duration is cut instead."""
    import pyarrow as pa

    return pa.duration("us") if pa.types.is_duration(kind) else pa.string()


def _mapped(kind: Any, change: Callable[[Any], Any]) -> Any:
    """Return a type with each type in nanoseconds changed, also in lists, structs and maps."""
    import pyarrow as pa

    types = pa.types
    if types.is_timestamp(kind) or types.is_duration(kind) or types.is_time64(kind):
        return change(kind) if kind.unit == "ns" else kind
    if types.is_struct(kind):
        inner = [kind.field(at).type for at in range(kind.num_fields)]
    elif types.is_map(kind):
        inner = [kind.key_type, kind.item_type]
    elif types.is_nested(kind) or types.is_dictionary(kind):
        inner = [kind.value_type]
    else:
        return kind
    found = [_mapped(part, change) for part in inner]
    return kind if found == inner else _rebuilt(kind, found)


def _rebuilt(kind: Any, inner: Sequence[Any]) -> Any:
    """Return the nested type with these types inside; for a dictionary the type of its values."""
    import pyarrow as pa

    types = pa.types
    if types.is_struct(kind):
        fields = [kind.field(at) for at in range(kind.num_fields)]
        return pa.struct([one.with_type(new) for one, new in zip(fields, inner, strict=True)])
    if types.is_map(kind):
        return pa.map_(*inner)
    return inner[0] if types.is_dictionary(kind) else pa.list_(inner[0])
