"""The columns of an output file."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from librehps.errors import UsageError
from librehps.types import AXES

TEXT, REAL, INTEGER, INTEGERS = "text", "real", "integer", "integers"
# Kinds of the user's own columns, beside TEXT.
LONG, DOUBLE, BOOLEAN = "long", "double", "boolean"
COLUMNS: dict[str, str] = {
    "id": TEXT,
    "media": TEXT,
    "kind": TEXT,
    "prompt": TEXT,
    "group": TEXT,
    **dict.fromkeys(AXES, REAL),
    **{f"{axis}_mu": REAL for axis in AXES},
    "width": INTEGER,
    "height": INTEGER,
    "frames": INTEGERS,
    "status": TEXT,
    "error_type": TEXT,
    "error": TEXT,
    "settings": TEXT,
}
# What statistics on the scores need beside them.
FULL: dict[str, str] = {
    **COLUMNS,
    **{f"{axis}_sigma": REAL for axis in AXES},
    "scalar": REAL,
    "prompt_tokens": INTEGER,
    "sha256": TEXT,
}
SETS = {"default": COLUMNS, "full": FULL}


def axes_among(columns: Iterable[str]) -> tuple[str, ...]:
    """Return the axes of a score table: each name that has a `<name>_mu` beside it, in order."""
    names = list(columns)
    return tuple(name for name in names if f"{name}_mu" in names)


def chosen_columns(columns: Sequence[str] | str, own: Mapping[str, str]) -> dict[str, str]:
    """Kinds of `default` or `full` and the user's own columns, or of the names listed alone.

    Raises UsageError for a name that there is not.
    """
    if isinstance(columns, str):
        return {**SETS[columns], **own}
    every = {**FULL, **own}
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
