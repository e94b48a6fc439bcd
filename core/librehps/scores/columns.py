"""The columns of an output file."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, get_args

from librehps.choices import ColumnSet, check_choice
from librehps.errors import UsageError
from librehps.types import AXES

TEXT, REAL, INTEGER, INTEGERS = "text", "real", "integer", "integers"
# Kinds of the user's own columns, beside TEXT.
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
    """Return the kinds of the default columns and of those that statistics need."""
    return {
        **default_columns(axes),
        **{f"{axis}_sigma": REAL for axis in axes},
        "scalar": REAL,
        "prompt_tokens": INTEGER,
        "sha256": TEXT,
    }


def axes_among(columns: Iterable[str]) -> tuple[str, ...]:
    """Return the axes of a score table: each `<name>` of a column `<name>_mu`, in order."""
    return tuple(name.removesuffix("_mu") for name in columns if name.endswith("_mu"))


def axes_in_rows(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the axes that any of the rows has columns of, in their order."""
    return list(dict.fromkeys(axis for row in rows for axis in axes_among(row)))


def chosen_columns(
    columns: Sequence[str] | str, own: Mapping[str, str], axes: Sequence[str] = AXES
) -> dict[str, str]:
    """Return kinds of `default` or `full` and the user's own columns, or of the names listed alone.

    Raises UsageError for an unknown name, and for a column of the user's named like an output's.
    """
    full = full_columns(axes)
    taken = [name for name in own if name in full]
    if taken:
        raise UsageError(
            f"the column {taken[0]!r} has the name of one of the output",
            hint=f"Give it another name: --rename {taken[0]}=my_{taken[0]}",
        )
    if isinstance(columns, str):
        check_choice(columns, ColumnSet, "columns")
        return {**(full if columns == "full" else default_columns(axes)), **own}
    every = {**full, **own}
    unknown = [name for name in columns if name not in every]
    if unknown:
        raise UsageError(f"no column {', '.join(unknown)}", hint=f"There are: {', '.join(every)}.")
    return {name: every[name] for name in columns}


# Above it, not every whole number is a double.
EXACT = 2**53


class _Large:
    """Stands for whole numbers that a double would change."""


class OwnColumns:
    """Kinds of the user's own columns, told from their values as they pass."""

    def __init__(self) -> None:
        self._seen: dict[str, set[type]] = {}

    def see(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The values as they can be kept: numbers, text and truth values, all else as JSON."""
        kept = {_plain(name): _plain(value) for name, value in values.items()}
        for name, value in kept.items():
            is_large = isinstance(value, int) and abs(value) > EXACT
            self._seen.setdefault(name, set()).add(_Large if is_large else type(value))
        return kept

    def kinds(self) -> dict[str, str]:
        """Name -> kind that holds every value seen; mixed ones are text."""
        return {name: _kind(types - {type(None)}) for name, types in self._seen.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        # JSON has no word for it.
        return None
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return str(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    is_nested = isinstance(value, list | dict | tuple)
    text = json.dumps(value, ensure_ascii=False, default=str) if is_nested else str(value)
    return text.encode(errors="replace").decode()


def as_text(value: Any) -> str | None:
    """A value of a column of text, whatever it was in its row."""
    return value if value is None or isinstance(value, str) else json.dumps(value)


def _kind(types: set[type]) -> str:
    if types == {bool}:
        return BOOLEAN
    if types and types <= {int, _Large}:
        return LONG
    return DOUBLE if types and types <= {int, float} else TEXT
