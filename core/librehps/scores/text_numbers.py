"""Numbers in a column of text, as CSV manifests have them."""

from contextlib import suppress
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from librehps.errors import UsageError

# Numbers that Arrow reads; a sign before them is taken off if it is a plus.
NUMBER = r"^-?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$|^-?(?i:inf|infinity|nan)$"
# Integers stay exact: a float64 does not hold every integer above 2^53, such as a seed.
KINDS = (pa.int64(), pa.uint64())


def numbers_of(column: Any, name: str, hint: str) -> Any:
    """Return a text column as int64, uint64 or float64, the first that fits all its values.

    Empty values are null. Raises UsageError, naming the first value that is not a number.
    """
    for kind in KINDS:
        with suppress(pa.ArrowInvalid):
            return _numbers(column, name, hint, kind)
    return _numbers(column, name, hint, pa.float64())


def _numbers(column: Any, name: str, hint: str, kind: Any) -> Any:
    chunks = [_texts(chunk, name, hint).cast(kind) for chunk in column.chunks]
    return pa.chunked_array(chunks, kind)


def _texts(values: Any, name: str, hint: str) -> Any:
    """Return the texts of numbers as Arrow reads them."""
    texts = pc.utf8_trim_whitespace(values.cast(pa.string()))
    texts = pc.if_else(pc.equal(texts, ""), pa.scalar(None, pa.string()), texts)
    plain = pc.replace_substring_regex(texts, r"^\+([0-9.])", r"\1")
    is_number = pc.fill_null(pc.match_substring_regex(plain, NUMBER), True)
    if (at := pc.index(is_number, False).as_py()) >= 0:
        raise UsageError(
            f"the column {name} holds text, not numbers ({values[at].as_py()!r}; expected a number "
            "in every row, or no value)",
            hint=hint,
        )
    return plain
