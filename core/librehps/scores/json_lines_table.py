"""JSON Lines read by Python as an Arrow table, with errors that name line and column."""

import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

# The longest text of a value in an error.
MAX_VALUE_CHARACTERS = 40


def read_lines(text: str, ours: Mapping[str, Any], first: int) -> Any:
    """Return the rows of JSON Lines; `first` is the number of the first line, for errors.

    `ours` are the types of known columns. Raises ValueError for lines that are not JSON objects of
    one type per name.
    """
    # As a text file is read: each kind of line break ends a line.
    lines = io.StringIO(text, newline=None)
    numbered = [(number, line) for number, line in enumerate(lines, first) if line.strip()]
    rows = [_row(line, number) for number, line in numbered]
    numbers = [number for number, _ in numbered]
    # A table without columns has no rows, so rows without keys get a column that all rows need.
    names = list(dict.fromkeys(name for row in rows for name in row)) or ["status"]
    return pa.table(
        {n: _array(n, [row.get(n) for row in rows], ours.get(n), numbers) for n in names}
    )


def _row(line: str, number: int) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except RecursionError as error:
        raise ValueError(f"line {number}: JSON with too many levels") from error
    except json.JSONDecodeError as error:
        raise ValueError(f"line {number}: invalid JSON: {error.msg}") from error
    if not isinstance(row, dict):
        raise ValueError(f"line {number}: expected a JSON object, got {_shown(row)}")
    return row


def _array(name: str, values: Sequence[Any], kind: Any | None, numbers: Sequence[int]) -> Any:
    """Return a column as an Arrow array; its type is inferred without a `kind`."""
    types = [type(value) for value in values]
    found = {_type_name(one) for one in dict.fromkeys(types) if one is not type(None)}
    if kind is not None:
        found.add(_arrow_type_name(kind))
    if len(found) > 1:
        raise _misfit(name, values, kind, numbers)
    try:
        return pa.array(values, kind)
    except (pa.ArrowException, OverflowError) as error:
        lines = f"lines {numbers[0]} to {numbers[-1]}"
        raise ValueError(f"{lines}: column {name}: invalid value: {error}") from error


def _misfit(
    name: str, values: Sequence[Any], kind: Any | None, numbers: Sequence[int]
) -> ValueError:
    """Return the error for the first value that is not of the column's JSON type."""
    known = [(v, number) for v, number in zip(values, numbers, strict=True) if v is not None]
    expected = _type_name(type(known[0][0])) if kind is None else _arrow_type_name(kind)
    value, number = next(pair for pair in known if _type_name(type(pair[0])) != expected)
    return ValueError(f"line {number}: column {name}: expected {expected}, got {_shown(value)}")


def _type_name(kind: type) -> str:
    """Return the name of a Python type's JSON type."""
    names = {bool: "true or false", int: "a number", float: "a number", str: "text", list: "a list"}
    return names.get(kind, "an object")


def _arrow_type_name(kind: Any) -> str:
    """Return the name of the JSON type of the values of a known column."""
    if pa.types.is_string(kind):
        return "text"
    return "a list" if pa.types.is_list(kind) else "a number"


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    is_long = len(text) > MAX_VALUE_CHARACTERS
    return text[:MAX_VALUE_CHARACTERS] + "..." if is_long else text
