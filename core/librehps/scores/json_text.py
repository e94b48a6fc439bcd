"""Arrow batches as JSON Lines, column by column: the same text as `jsonl.to_line` gives."""

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from librehps.scores.columns import BOOLEAN, DOUBLE, INTEGER, INTEGERS, LONG, REAL, TEXT

# Texts with control characters are rare, and left to `json`.
_CONTROL = r"[\x00-\x1f]"
# The texts of Arrow for these numbers are those of Python.
_MIN_PLAIN, _MAX_PLAIN = 1e-4, 1e6


def json_lines(batch: Any, kinds: Mapping[str, str]) -> Any:
    """Return the columns `kinds` of a batch as a buffer of JSON Lines, in UTF-8.

    Columns of the kind DOUBLE are numbers, or the text of numbers.
    """
    if not batch.num_rows or not kinds:
        return pa.py_buffer(b"{}\n" * batch.num_rows)
    pieces: list[Any] = []
    for at, (name, kind) in enumerate(kinds.items()):
        start = "{" if at == 0 else ", "
        pieces.append(_constant(f"{start}{json.dumps(name, ensure_ascii=False)}: "))
        pieces.append(_TEXTS[kind](batch.column(name)))
    pieces.append(_constant("}\n"))
    lines = pc.binary_join_element_wise(
        *pieces, _constant(""), null_handling="replace", null_replacement="null"
    )
    return _content(lines)


def _constant(text: str) -> Any:
    return pa.scalar(text, pa.large_string())


def _content(lines: Any) -> Any:
    """Return the buffer of an array's texts, one after the other."""
    _, offsets, data = lines.buffers()
    ends = memoryview(offsets).cast("q")
    first, last = ends[lines.offset], ends[lines.offset + len(lines)]
    return data.slice(first, last - first)


def _text(column: Any) -> Any:
    values = column.cast(pa.large_string())
    odd = pc.match_substring_regex(values, _CONTROL)
    plain = pc.replace_substring(pc.replace_substring(values, "\\", "\\\\"), '"', '\\"')
    quote = _constant('"')
    quoted = pc.binary_join_element_wise(quote, plain, quote, _constant(""))
    return _replaced(quoted, odd, values, lambda text: json.dumps(text, ensure_ascii=False))


def _integer(column: Any) -> Any:
    return column.cast(pa.large_string())


def _real(column: Any) -> Any:
    # Through text: the fewest digits that still give this number as float32.
    return _double(column.cast(pa.float32()).cast(pa.string()).cast(pa.float64()))


def _double(column: Any) -> Any:
    if not pa.types.is_floating(column.type):
        return column.cast(pa.large_string())
    texts = column.cast(pa.large_string())
    sizes = pc.abs(column)
    is_plain = pc.and_(pc.greater_equal(sizes, _MIN_PLAIN), pc.less(sizes, _MAX_PLAIN))
    is_whole = pc.equal(pc.floor(column), column)
    odd = pc.or_(pc.invert(is_plain), is_whole)
    return _replaced(texts, odd, column, _float)


def _float(value: float) -> str:
    # JSON has no NaN or infinity.
    return repr(value) if math.isfinite(value) else "null"


def _integers(column: Any) -> Any:
    lists = pa.ListArray.from_arrays(column.offsets, column.values.cast(pa.string()))
    joined = pc.binary_join(lists, ", ").cast(pa.large_string())
    texts = pc.binary_join_element_wise(_constant("["), joined, _constant("]"), _constant(""))
    return pc.if_else(column.is_valid(), texts, pa.scalar(None, pa.large_string()))


def _replaced(texts: Any, odd: Any, values: Any, convert: Callable[[Any], str]) -> Any:
    """Return the texts, those that are `odd` replaced by the converted values."""
    odd = pc.fill_null(odd, False)
    if not pc.any(odd).as_py():
        return texts
    converted = [convert(value) for value in values.filter(odd).to_pylist()]
    return pc.replace_with_mask(texts, odd, pa.array(converted, pa.large_string()))


_TEXTS: dict[str, Callable[[Any], Any]] = {
    TEXT: _text,
    REAL: _real,
    INTEGER: _integer,
    LONG: _integer,
    INTEGERS: _integers,
    DOUBLE: _double,
    BOOLEAN: _integer,
}
