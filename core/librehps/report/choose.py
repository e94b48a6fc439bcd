"""The rows that a report shows, and their media: all rows, or of many rows a sample."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from librehps.decide.copy_media import media_named_in
from librehps.report.data import Rows, needed_columns, rows_of
from librehps.report.duels import Duels, duels_of
from librehps.report.permitted import permitted
from librehps.report.sample import Indices, Sample, sample_of, within
from librehps.report.survey import SCORE_DECIMALS, Survey, survey_of
from librehps.scores.score_table import ScoreTable
from librehps.scores.select import text_column

MAX_SHOWN_ROWS, MAX_ROW_BYTES = 10_000, 5_000_000
NO_DUELS = Duels(np.empty(0, np.int64), [], [])


@dataclass(frozen=True)
class Places:
    """The folder of the page, the `root` of its media, and whether URLs may be read.

    A bundle takes only media below the folder of the scored file or below `root`.
    """

    page: Path
    root: str | Path | None = None
    allow_remote: bool = False
    is_bundle: bool = False


def chosen_rows(
    scores: ScoreTable,
    by: str | None,
    per: str | None,
    places: Places,
    strongest: Sequence[str] = (),
) -> Rows:
    """Return the rows that a page shows, with figures of all rows.

    Prompts that tell the `strongest` generators apart are among the rows, to compare side by side.
    Raises UsageError if a column is not found, and NothingScoredError if overall has no value.
    """
    duels = NO_DUELS if by is None or not strongest else duels_of(scores.source, by, strongest)
    survey = survey_of(scores.source, by, per)
    every = np.arange(len(survey))
    if len(survey) <= MAX_SHOWN_ROWS:
        rows = _rows(scores, survey, every, places)
        if len(within(rows.columns, every, MAX_ROW_BYTES)) == len(every):
            return replace(rows, first=duels.rows.tolist())
    sample = sample_of(scores.source, survey, MAX_SHOWN_ROWS, duels.rows)
    shown = np.sort(sample.rows)
    rows = _rows(scores, survey, shown, places)
    order = within(rows.columns, np.searchsorted(shown, sample.rows), MAX_ROW_BYTES)
    if len(order) < len(shown):
        kept = np.sort(order)
        shown, order = shown[kept], np.searchsorted(kept, order)
        rows = _rows(scores, survey, shown, places)
    rows.columns["whole"] = {
        **survey.record,
        "contests": _contests(sample, shown),
        "duels": _duels(duels, shown),
    }
    return replace(rows, order=order.tolist())


def _rows(scores: ScoreTable, survey: Survey, shown: Indices, places: Places) -> Rows:
    table = scores.source.select(needed_columns(scores.source, survey)).take(shown)
    texts = text_column(table, "media").to_pylist()
    media = media_named_in(scores, texts, places.root, places.allow_remote)
    if places.is_bundle:
        media = permitted(scores, media, places.root)
    return rows_of(table, survey, media, places.page)


def _duels(duels: Duels, shown: Indices) -> list[list[float]]:
    """Return (row of the winner, row of the loser, gap) of each duel whose rows are shown."""
    at = {row: place for place, row in enumerate(shown.tolist())}
    return [
        [at[winner], at[loser], round(gap, SCORE_DECIMALS)]
        for (winner, loser), gap in zip(duels.pairs, duels.gaps, strict=True)
        if winner in at and loser in at
    ]


def _contests(sample: Sample, shown: Indices) -> dict[str, Any]:
    """Return for each axis the number of all contests, and those whose rows are shown."""
    found = {}
    for axis, contests in sample.contests.items():
        pairs = contests[np.isin(contests[:, :2], shown).all(axis=1)]
        at = np.searchsorted(shown, pairs[:, :2])
        held = [[*ends, size] for ends, size in zip(at.tolist(), pairs[:, 2].tolist(), strict=True)]
        found[axis] = {"total": sample.totals[axis], "shown": held}
    return found
