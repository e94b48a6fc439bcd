"""Arrow batches as JSON Lines, column by column: the same text as `jsonl.to_line` gives."""

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from librehps.scores.columns import BOOLEAN, DOUBLE, INTEGER, INTEGERS, LONG, REAL, TEXT

# Texts with control characters are rare, and left to `json`.
_CONTROL = r"[\x00-\x1f]"
_QUOTE, _BACKSLASH, _SPACE = b'"\\ '
# The texts of Arrow for these numbers are those of Python.
_MIN_PLAIN, _MAX_PLAIN = 1e-4, 1e6


def json_lines(batch: Any, kinds: Mapping[str, str]) -> Any:
    """Return the columns `kinds` of a batch as a buffer of JSON Lines, in UTF-8.

    Columns of the kind DOUBLE are numbers, or the text of numbers.
    """
    pieces: list[Any] = []
    constant, start = "", "{"
    for name, kind in kinds.items():
        column = batch.column(name)
        constant += f"{start}{json.dumps(name, ensure_ascii=False)}: "
        start = ", "
        if column.null_count == len(column):
            constant += "null"
            continue
        values, quote = _TEXTS[kind](column), '"' if kind == TEXT else ""
        if quote and column.null_count:
            values, quote = _joined('"', values, '"'), ""
        pieces += [constant + quote, values]
        constant = quote
    if not pieces:
        line = f"{constant}}}\n" if kinds else "{}\n"
        return pa.py_buffer(line.encode() * batch.num_rows)
    return _content(_joined(*pieces, constant + "}\n", null="null"))


def _joined(*pieces: Any, null: str | None = None) -> Any:
    """Return arrays and texts joined row by row; a null in a piece becomes the text `null`."""
    texts = [pa.scalar(p, pa.large_string()) if isinstance(p, str) else p for p in (*pieces, "")]
    way = {"null_handling": "emit_null"} if null is None else {
        "null_handling": "replace", "null_replacement": null}  # fmt: skip
    return pc.binary_join_element_wise(*texts, **way)


def _content(lines: Any) -> Any:
    """Return the buffer of an array's texts, one after the other."""
    _, offsets, data = lines.buffers()
    ends = memoryview(offsets).cast("q")
    first, last = ends[lines.offset], ends[lines.offset + len(lines)]
    return data.slice(first, last - first)


def _text(column: Any) -> Any:
    """Return texts as the inside of a JSON string."""
    values = column.cast(pa.large_string())
    used = np.frombuffer(_content(values), np.uint8)
    if not ((used == _QUOTE) | (used == _BACKSLASH) | (used < _SPACE)).any():
        return values
    odd = pc.match_substring_regex(values, _CONTROL)
    plain = pc.replace_substring(pc.replace_substring(values, "\\", "\\\\"), '"', '\\"')
    return _replaced(plain, odd, values, lambda text: json.dumps(text, ensure_ascii=False)[1:-1])


def _integer(column: Any) -> Any:
    return column.cast(pa.large_string())


def _double(column: Any) -> Any:
    if not pa.types.is_floating(column.type):
        return column.cast(pa.large_string())
    sizes = pc.abs(column)
    is_plain = pc.and_(pc.greater_equal(sizes, _MIN_PLAIN), pc.less(sizes, _MAX_PLAIN))
    odd = pc.or_(pc.invert(is_plain), pc.equal(pc.floor(column), column))
    # As text, a float32 has the fewest digits that still give this number.
    texts = column.cast(pa.large_string())
    return _replaced(texts, odd, texts, _float)


def _float(text: str) -> str:
    value = float(text)
    # JSON has no NaN or infinity.
    return repr(value) if math.isfinite(value) else "null"


def _integers(column: Any) -> Any:
    lists = pa.ListArray.from_arrays(column.offsets, column.values.cast(pa.string()))
    joined = pc.binary_join(lists, ", ").cast(pa.large_string())
    texts = _joined("[", joined, "]")
    return pc.if_else(column.is_valid(), texts, pa.scalar(None, pa.large_string()))


def _replaced(texts: Any, odd: Any, values: Any, convert: Callable[[str], str]) -> Any:
    """Return the texts, those that are `odd` replaced by the converted values."""
    odd = pc.fill_null(odd, False)
    if not pc.any(odd).as_py():
        return texts
    converted = [convert(value) for value in values.filter(odd).to_pylist()]
    return pc.replace_with_mask(texts, odd, pa.array(converted, pa.large_string()))


_TEXTS: dict[str, Callable[[Any], Any]] = {
    TEXT: _text,
    REAL: _double,
    INTEGER: _integer,
    LONG: _integer,
    INTEGERS: _integers,
    DOUBLE: _double,
    BOOLEAN: _integer,
}
