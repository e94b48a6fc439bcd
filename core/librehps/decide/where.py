"""Choose rows by the text of a column: `--where generator=aurora`."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from librehps.errors import NothingScoredError, UsageError
from librehps.scores.file_table import batches_of
from librehps.scores.score_table import ScoreTable
from librehps.scores.scored_file import Mask
from librehps.scores.select import place_of

EXAMPLE = "For example: --where generator=aurora, or --where 'generator!=aurora'"
NOT = "!"
NUMBERS = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal)

# Types whose values are compared as they are, others as float64.
EXACT = [
    *(pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.float32()),
    *(pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64(), pa.float64()),
]
# A value of a row, as text or as it is.
Value = str | bool | int | float
# Column to value or values, or texts as on the command line.
Wheres = Mapping[str, Value | Sequence[Value]] | Iterable["str | Condition"]


@dataclass(frozen=True)
class Condition:
    """The rule that a column has one of `values` as text, or with `is_not` none of them."""

    column: str
    values: tuple[str, ...]
    is_not: bool = False


def parse_where(where: Wheres, flag: str = "where") -> list[Condition]:
    """Return a condition for each column of texts like `a=1` and `a!=1`; raises UsageError.

    Several values of a column are alternatives.
    """
    if isinstance(where, Mapping):
        return [Condition(name, _values(given)) for name, given in where.items()]
    parsed, found = list[Condition](), dict[tuple[str, bool], list[str]]()
    for text in [where] if isinstance(where, str) else where:
        if isinstance(text, Condition):
            parsed.append(text)
            continue
        column, is_there, value = text.partition("=")
        is_not = column.endswith(NOT)
        column = column.removesuffix(NOT)
        if not column or not is_there:
            raise UsageError(f"{flag}: expected COLUMN=VALUE, got {text!r}", hint=EXAMPLE)
        found.setdefault((column, is_not), []).append(value)
    texts = [Condition(column, tuple(values), no) for (column, no), values in found.items()]
    return parsed + texts


def rows_where(scores: ScoreTable, where: Wheres) -> ScoreTable:
    """Return the rows, also those with errors, that meet every condition.

    Raises NothingScoredError if no row does.
    """
    conditions = parse_where(where)
    if not conditions:
        return scores
    mask = meeting(scores.source, conditions)
    check_any(mask, conditions, scores.origin)
    return scores.of(scores.source.filter(mask))


def check_any(mask: Mask, conditions: Sequence[Condition], origin: str) -> None:
    """Raise NothingScoredError if no row of `origin` meets the conditions."""
    if len(mask) and not mask.any():
        texts = [f"{c.column}{NOT * c.is_not}={value}" for c in conditions for value in c.values]
        raise NothingScoredError(f"no row of {origin} meets --where {', '.join(texts)}")


def meeting(table: Any, conditions: Iterable[Condition]) -> Mask:
    """Return a mask (rows,) of the rows that meet every condition.

    Text is compared exactly, numbers as those of the column's type; a row without a value has the
    text ''. Raises UsageError for a missing column, for one of lists or structs, and for a value
    that a column of numbers or booleans cannot have.
    """
    mask = np.ones(len(table), dtype=bool)
    for condition in conditions:
        name = condition.column
        place_of(table, name, table.column_names)
        first = 0
        for batch in batches_of(table, [name], encoded=True):
            held = _held(batch.column(0), condition)
            mask[first : first + len(batch)] &= ~held if condition.is_not else held
            first += len(batch)
    return mask


def _held(column: Any, condition: Condition) -> Mask:
    """Return which values of an array are among those of the condition."""
    if pa.types.is_dictionary(column.type):
        # The last entry is for null, whose index is -1.
        values = pa.concat_arrays([column.dictionary, pa.nulls(1, column.dictionary.type)])
        of_values = _held(values, condition)
        picked: Mask = of_values[column.indices.fill_null(-1).to_numpy()]
        return picked
    if pa.types.is_boolean(column.type):
        found = pc.is_in(column, _parsed(condition, "booleans", "true", _boolean, column.type))
    elif any(is_kind(column.type) for is_kind in NUMBERS):
        kind = column.type if column.type in EXACT else pa.float64()
        found = pc.is_in(column.cast(kind), _parsed(condition, "numbers", "1", _number, kind))
    else:
        found = pc.is_in(_texts(column, condition.column).fill_null(""), pa.array(condition.values))
    held: Mask = np.asarray(found)
    return held


def _values(given: Value | Sequence[Value]) -> tuple[str, ...]:
    if isinstance(given, str | bool | int | float):
        return (str(given),)
    return tuple(map(str, given))


def _parsed(
    condition: Condition, kinds: str, example: str, parse: Callable[[str], Any], kind: Any
) -> Any:
    """Return the values as an array of a type; the empty text is null."""
    try:
        values = [parse(value) if value else None for value in condition.values]
    except ValueError as error:
        raise UsageError(
            f"--where: the column {condition.column} holds {kinds}, got "
            f"{', '.join(condition.values)}",
            hint=f"For example: --where {condition.column}={example}",
        ) from error
    if pa.types.is_integer(kind):
        limits = np.iinfo(kind.to_pandas_dtype())
        # A number that the column cannot hold is none of its values.
        values = [v for v in values if v is None or (v == v // 1 and limits.min <= v <= limits.max)]
    return pa.array(values, kind)


def _number(text: str) -> int | float:
    """Return an integer exactly, other numbers as a float."""
    try:
        return int(text)
    except ValueError:
        return float(text)


def _boolean(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError
    return text.lower() == "true"


def _texts(column: Any, name: str) -> Any:
    try:
        return column.cast(pa.string())
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid) as error:
        raise UsageError(
            f"--where: the column {name} holds {column.type}; expected text, numbers or booleans"
        ) from error
