"""Score tables with the columns of other files, joined by content and prompt."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np

from librehps.choices import JoinKey, check_choice
from librehps.decide.gathered import GatheredRows
from librehps.decide.join_keys import Matches, RowKeys, match, row_keys
from librehps.decide.join_refusal import find_unmatched, refusal
from librehps.decide.join_source import joined_columns, key_column, name_of, open_source
from librehps.errors import NothingScoredError, UsageError
from librehps.files import counted
from librehps.scores.beside import with_columns
from librehps.scores.file_table import FileTable
from librehps.scores.score_table import Scores, ScoreTable, as_score_table
from librehps.scores.scored_file import Mask
from librehps.settings import JOINED

log = logging.getLogger("librehps")

KEYS = get_args(JoinKey)[1:]


@dataclass(frozen=True)
class _Keys:
    """The key that two tables are joined by, and the keys of their rows."""

    name: str
    has_prompt: bool
    own: RowKeys
    other: RowKeys

    @property
    def text(self) -> str:
        """The key for messages: `media and prompt`."""
        return f"{self.name} and prompt" if self.has_prompt else self.name


def join_scores(
    scores: Scores,
    others: Mapping[str, Scores] | Sequence[str | Path] | str | Path,
    *,
    key: str = "auto",
    drop_unmatched: bool = False,
) -> ScoreTable:
    """Return the table with the columns of numbers of other files, named `NAME.overall`.

    `others` are scored files of other models, or CSV, JSON, JSON Lines and Parquet with numbers for
    each `media` or `id`: by name, or one or several files, which their models or themselves name.
    Rows are of the same item if `sha256` (where both have this column), else `media` (where both
    files say where these lie), else `id` is equal, and the prompt where both have one; `key` names
    one of the three. Raises UsageError if a row is missing there, is there under another prompt, or
    twice with other numbers; `drop_unmatched` leaves such rows out. How each file was joined is in
    `settings["joined"]`.
    """
    check_choice(key, JoinKey, "key")
    table = as_score_table(scores)
    files = [others] if isinstance(others, str | Path) else others
    named = files.items() if isinstance(files, Mapping) else ((None, one) for one in files)
    for name, other in named:
        table = _with(table, name, other, key, drop_unmatched)
    return table


def _with(
    table: ScoreTable, given: str | None, source: Scores, key: str, drop_unmatched: bool
) -> ScoreTable:
    other = open_source(source)
    name = given or name_of(source, other)
    names = {f"{name}.{column}": column for column in joined_columns(other.source)}
    if not names:
        raise UsageError(f"{other.origin}: no column of numbers")
    taken = [column for column in table.columns if column.startswith(f"{name}.")]
    if taken:
        raise UsageError(
            f"{other.origin}: the table has columns of {name} already: {taken[0]}",
            hint="Give it another name: --with NAME=FILE",
        )
    keys = _keys(table, other, key)
    found = _with_failed(table, other, keys, match(keys.own, keys.other))
    kept = _kept(table, other, [*names.values()], keys, found, drop_unmatched)
    source_rows, places = table.source, found.places
    if not kept.all():
        source_rows, places = source_rows.filter(kept), places[kept]
    gathered: Any = GatheredRows(other.source, names, places)
    columns = gathered if isinstance(source_rows, FileTable) else gathered.read()
    record = {
        "name": name,
        "file": other.origin,
        "key": keys.text,
        "rows": int(np.count_nonzero(places >= 0)),
        "settings": dict(other.settings),
    }
    settings = {**table.settings, JOINED: [*table.settings.get(JOINED, ()), record]}
    joined = with_columns(source_rows, columns)
    return ScoreTable(joined, settings, table.origin, table.folder)


def _keys(table: ScoreTable, other: ScoreTable, key: str) -> _Keys:
    """Return the keys of the first kind that every row of both tables has."""
    has_prompt = all(key_column(one.source, "prompt") for one in (table, other))
    lacking = []
    for name in KEYS if key == "auto" else [key]:
        without = [one.origin for one in (table, other) if not key_column(one.source, name)]
        if without:
            lacking.append(f"{without[0]} has no column {name}")
            continue
        own, theirs = (row_keys(one, name, has_prompt) for one in (table, other))
        if not own.bare + theirs.bare:
            return _Keys(name, has_prompt, own, theirs)
        bare = table if own.bare else other
        lacking.append(f"{counted(own.bare or theirs.bare, 'row')} of {bare.origin} have no {name}")
    raise UsageError(
        f"cannot join {other.origin} to {table.origin}: {'; '.join(lacking)}",
        hint="Score with --columns full, or give both files a column media or id.",
    )


def _with_failed(table: ScoreTable, other: ScoreTable, keys: _Keys, found: Matches) -> Matches:
    """Return the matches by content with the rows that are errors there, which have no content."""
    failed = found.failed.copy()
    if keys.name != "sha256" or keys.other.is_ok.all():
        return found
    for name in KEYS[1:]:
        if all(key_column(one.source, name) for one in (table, other)):
            own, theirs = (row_keys(one, name, keys.has_prompt) for one in (table, other))
            failed |= match(own, theirs).failed & (found.places < 0)
    return replace(found, failed=failed)


def _kept(
    table: ScoreTable,
    other: ScoreTable,
    columns: Sequence[str],
    keys: _Keys,
    found: Matches,
    drop_unmatched: bool,
) -> Mask:
    """Return a mask of the rows to keep; raises UsageError for rows without one clear partner."""
    unequal = _unequal(other.source, columns, found)
    unmatched = find_unmatched(table, keys.own, found, unequal, keys.name)
    lost = unmatched.lost
    if lost.any() and not drop_unmatched:
        raise refusal(table, other, keys.name, keys.has_prompt, unmatched)
    if (lost | ~keys.own.is_ok).all():
        raise NothingScoredError(f"no row of {table.origin} is in {other.origin} by {keys.text}")
    if lost.any():
        rows = f"{counted(int(lost.sum()), 'row')} of {table.origin}"
        log.warning("%s left out, in %s: %s", rows, other.origin, unmatched.text())
    failed = int(np.count_nonzero(found.failed & keys.own.is_ok))
    if failed:
        log.warning("%s have an error in %s", counted(failed, "row"), other.origin)
    return ~lost


def _unequal(table: Any, columns: Sequence[str], found: Matches) -> Any:
    """Return the rows of which another row with the same key has other numbers."""
    rows, firsts = found.doubled
    if not len(rows):
        return firsts
    differs = np.zeros(len(rows), dtype=bool)
    selected = table.select(list(columns))
    one, two = (selected.take(at) for at in (rows, firsts))
    for name in columns:
        values = [part.column(name).cast("float64", safe=False).to_numpy() for part in (one, two)]
        differs |= ~((values[0] == values[1]) | (np.isnan(values[0]) & np.isnan(values[1])))
    return firsts[differs]
