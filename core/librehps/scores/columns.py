"""The columns of an output file, and the kind of values in each."""

import json
import math
import shlex
from collections.abc import Collection, Iterable, Mapping, Sequence
from types import NoneType
from typing import Any, get_args

from librehps.choices import ColumnSet, check_choice
from librehps.errors import UsageError
from librehps.files import is_utf8
from librehps.types import AXES

TEXT, REAL, INTEGER, INTEGERS = "text", "real", "integer", "integers"
# The column of perceptual hashes, which only a run that asks for this column computes.
PHASH = "phash"
# The column of a journal with the row's index in the listing; no own column can have its name.
INDEX = "librehps.index"
# Kinds of the user's own columns, in addition to TEXT.
LONG, DOUBLE, BOOLEAN = "long", "double", "boolean"
SETS = get_args(ColumnSet)


def default_columns(axes: Sequence[str] = AXES) -> dict[str, str]:
    """Return the kind of each default column, in the order of the output."""
    return {
        **dict.fromkeys(("id", "media", "kind", "prompt", "group"), TEXT),
        **dict.fromkeys(axes, REAL),
        **{f"{axis}_mu": REAL for axis in axes},
        "width": INTEGER,
        "height": INTEGER,
        "frames": INTEGERS,
        **dict.fromkeys(("status", "error_type", "error", "settings"), TEXT),
    }


def full_columns(axes: Sequence[str] = AXES) -> dict[str, str]:
    """Return the kinds of the default columns and of the extra columns for statistics."""
    return {
        **default_columns(axes),
        **{f"{axis}_sigma": REAL for axis in axes},
        "scalar": REAL,
        "prompt_tokens": INTEGER,
        "sha256": TEXT,
        PHASH: TEXT,
    }


def has_hashes(columns: Sequence[str] | str) -> bool:
    """Return True for a set or a list of columns that holds perceptual hashes."""
    return columns == "full" if isinstance(columns, str) else PHASH in columns


def asked_names(
    columns: Sequence[str] | str, axes: Sequence[str], there: Sequence[str]
) -> list[str]:
    """Return the names that an output, which has the columns `there`, needs for these columns.

    The full set of an older version has no perceptual hashes.
    """
    if not isinstance(columns, str):
        return list(columns)
    return [name for name in chosen_columns(columns, {}, axes) if name in there or name != PHASH]


def axes_among(columns: Iterable[str]) -> tuple[str, ...]:
    """Return the axes of a score table: each `<name>` of a column `<name>_mu`, in order."""
    return tuple(name.removesuffix("_mu") for name in columns if name.endswith("_mu"))


def axes_in_rows(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the axes with columns in any of the rows, in order of appearance."""
    return list(dict.fromkeys(axis for row in rows for axis in axes_among(row)))


def chosen_columns(
    columns: Sequence[str] | str, own: Mapping[str, str], axes: Sequence[str] = AXES
) -> dict[str, str]:
    """Return column kinds: the set `default` or `full` plus the user's own, or the listed names.

    Raises UsageError for an unknown name, and for an own column named like an output column.
    """
    full = full_columns(axes)
    check_free({name: name for name in own}, {*full, INDEX})
    if isinstance(columns, str):
        check_choice(columns, ColumnSet, "columns")
        return {**(full if columns == "full" else default_columns(axes)), **own}
    every = {**full, **own}
    unknown = [name for name in columns if name not in every]
    if unknown:
        raise UsageError(f"no column {', '.join(unknown)}", hint=f"There are: {', '.join(every)}.")
    return {name: every[name] for name in columns}


def check_free(own: Mapping[str, str], reserved: Collection[str], place: str = "") -> None:
    """Raise UsageError for own columns, given as old and new names, that are output columns.

    `place` begins the message.
    """
    taken = {old: new for old, new in own.items() if new in reserved}
    if not taken:
        return
    names = ", ".join(map(repr, taken.values()))
    free = {old: _free_name(old, {*own, *own.values(), *reserved}) for old in taken}
    flags = " ".join(f"--rename {shlex.quote(f'{old}={new}')}" for old, new in free.items())
    one = len(taken) == 1
    raise UsageError(
        f"{place}column{'' if one else 's'} {names} "
        f"{'conflicts with an output column' if one else 'conflict with output columns'}",
        hint=f"Rename {'it' if one else 'them'}: {flags}",
    )


def _free_name(name: str, taken: Collection[str]) -> str:
    new = f"my_{name}"
    return new if new not in taken else _free_name(new, taken)


# Above this, not every integer is exact as a double.
MAX_EXACT_INT = 2**53


class _Large:
    """A marker type for integers that are not exact as a double."""


class OwnColumns:
    """The kinds of the user's own columns, inferred from the values seen."""

    def __init__(self) -> None:
        self._seen: dict[str, set[type]] = {}

    def see(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the values in storable form: numbers, text and booleans; others as JSON text."""
        for name, value in values.items():
            kind = type(value)
            if kind not in self._seen.get(name, ()):
                return self._see_new(values)
            # Compared in place, not in a function, since this is done for each row.
            if kind is str:
                if not value.isascii():
                    return self._see_new(values)
            elif value is not None and not -MAX_EXACT_INT <= value <= MAX_EXACT_INT:
                return self._see_new(values)
        return values

    def see_columns(self, columns: Mapping[str, Sequence[Any]]) -> Mapping[str, Sequence[Any]]:
        """Return the columns of many rows in storable form, like `see`."""
        return {_plain(name): self._see_column(_plain(name), c) for name, c in columns.items()}

    def _see_column(self, name: str, values: Sequence[Any]) -> Sequence[Any]:
        kinds = set(map(type, values))
        if not (kinds <= {str, NoneType} and is_utf8("".join(filter(None, values)))):
            values = list(map(_plain, values))
            kinds = {_kind_of(value) for value in values}
        self._seen.setdefault(name, set()).update(kinds)
        return values

    def _see_new(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values of `see`, and note their types."""
        kept = {_plain(name): _plain(value) for name, value in values.items()}
        for name, value in kept.items():
            self._seen.setdefault(name, set()).add(_kind_of(value))
        return kept

    def kinds(self) -> dict[str, str]:
        """Return the kind of each column that holds all values seen; mixed columns are text."""
        return {name: _kind(types - {type(None)}) for name, types in self._seen.items()}


def _kind_of(value: Any) -> type:
    is_large = isinstance(value, int) and abs(value) > MAX_EXACT_INT
    return _Large if is_large else type(value)


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        # JSON has no NaN or infinity.
        return None
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return str(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    is_nested = isinstance(value, list | dict | tuple)
    text = json.dumps(value, ensure_ascii=False, default=str) if is_nested else str(value)
    return text.encode(errors="replace").decode()


def as_text(value: Any) -> str | None:
    """Return a value of a text column as text; other types as JSON, None unchanged."""
    return value if value is None or isinstance(value, str) else json.dumps(value)


def _kind(types: set[type]) -> str:
    if types == {bool}:
        return BOOLEAN
    if types and types <= {int, _Large}:
        return LONG
    return DOUBLE if types and types <= {int, float} else TEXT
