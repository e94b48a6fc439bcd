"""Rows that cannot be joined to another table: which, why, and the error that says so."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from librehps.decide.join_keys import Matches, RowKeys, row_keys
from librehps.decide.join_source import key_column
from librehps.errors import UsageError
from librehps.files import counted
from librehps.scores.score_table import ScoreTable
from librehps.scores.scored_file import Mask

MAX_PROMPT_CHARS = 60


@dataclass(frozen=True)
class Unmatched:
    """Masks of the rows without one clear partner in the other table.

    `missing`: there is none; `doubled`: there are several with different numbers; `shared`: rows of
    other media have the same id.
    """

    missing: Mask
    doubled: Mask
    shared: Mask

    @property
    def lost(self) -> Mask:
        """All of these rows."""
        found: Mask = self.missing | self.doubled | self.shared
        return found

    def text(self) -> str:
        """Return the number of rows of each kind: `3 missing, 1 doubled`."""
        kinds = {"missing": self.missing, "doubled": self.doubled, "with a shared id": self.shared}
        return ", ".join(f"{_count(rows)} {name}" for name, rows in kinds.items() if rows.any())


def find_unmatched(
    table: ScoreTable, own: RowKeys, found: Matches, unequal: Any, key: str
) -> Unmatched:
    """Return the rows without an error that cannot be joined; `unequal` rows have doubles."""
    return Unmatched(
        own.is_ok & (found.places < 0) & ~found.failed,
        own.is_ok & np.isin(found.places, unequal),
        own.is_ok & _shared(table, own) if key == "id" else np.zeros(len(table), dtype=bool),
    )


def _shared(table: ScoreTable, own: RowKeys) -> Mask:
    """Return a mask of the rows whose key other media have too."""
    shared = np.zeros(len(table), dtype=bool)
    if key_column(table.source, "media") is None:
        return shared
    order = np.argsort(own.keys)
    keys = own.keys[order]
    again = np.flatnonzero(keys[1:] == keys[:-1])
    if len(again):
        media = row_keys(table, "media", with_prompt=False).keys[order]
        again = again[media[again] != media[again + 1]]
        shared[order[again]] = shared[order[again + 1]] = True
    return shared


def refusal(
    table: ScoreTable, other: ScoreTable, key: str, has_prompt: bool, unmatched: Unmatched
) -> UsageError:
    """Return the error for a join, with a count and an example of each kind of row."""
    by = f"{key} and prompt" if has_prompt else key
    missing, told = unmatched.missing, list[str]()
    if has_prompt and missing.any():
        own, theirs = (row_keys(one, key, with_prompt=False).keys for one in (table, other))
        elsewhere = missing & np.isin(own, theirs)
        told += _under_other_prompts(table, other, elsewhere, own, theirs)
        missing = missing & ~elsewhere
    told += _told(table, missing, f"are not in {other.origin}")
    told += _told(table, unmatched.doubled, f"are in {other.origin} twice, with different numbers")
    told += _told(table, unmatched.shared, f"share their {by} with rows of other media")
    hint = "Leave these rows out with --drop-unmatched"
    if key == "media" and key_column(other.source, "id"):
        hint += ", or compare ids instead of paths with --with-key id"
    rows = f"{counted(len(table), 'row')} of {table.origin}"
    return UsageError(f"cannot join by {by}: of {rows}, {'; '.join(told)}", hint=f"{hint}.")


def _told(table: ScoreTable, rows: Mask, problem: str) -> Iterator[str]:
    if rows.any():
        yield f"{_count(rows)} {problem}: {_named(table, int(np.argmax(rows)))}"


def _under_other_prompts(
    table: ScoreTable, other: ScoreTable, rows: Mask, own: Any, theirs: Any
) -> Iterator[str]:
    if rows.any():
        at = int(np.argmax(rows))
        here, there = _prompt(table, at), _prompt(other, int(np.argmax(theirs == own[at])))
        yield (
            f"{_count(rows)} are in {other.origin} under another prompt: "
            f"{_named(table, at)} ({here}, there {there})"
        )


def _count(rows: Mask) -> str:
    return f"{int(np.count_nonzero(rows)):,}"


def _named(table: ScoreTable, at: int) -> str:
    names: Sequence[str] = [name for name in ("id", "media") if name in table.columns]
    return str(_value(table, names[0], at))


def _prompt(table: ScoreTable, at: int) -> str:
    text = str(_value(table, key_column(table.source, "prompt") or "", at))
    return repr(text if len(text) <= MAX_PROMPT_CHARS else text[:MAX_PROMPT_CHARS] + "...")


def _value(table: ScoreTable, name: str, at: int) -> Any:
    return table.source.select([name]).slice(at, 1).column(0)[0].as_py()
