"""Write the HTML report of scored rows."""

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from librehps.choices import PairsFormat
from librehps.decide.leaderboard import leaderboard
from librehps.decide.standings import Leaderboard
from librehps.errors import UsageError
from librehps.evaluate.evaluation import evaluate
from librehps.evaluate.judged import Judged, judge_table
from librehps.extras import require
from librehps.preferences.read import read_preferences
from librehps.report.data import REQUIRED_COLUMNS, rows_of
from librehps.report.figures import Agreement
from librehps.report.page import Contents, check_page, write_page
from librehps.report.pictures import Pictures, Watch, pictures_of
from librehps.report.thumbnails import Thumbnail
from librehps.scores.score_table import Scores, ScoreTable, as_score_table
from librehps.scores.select import scored_rows

log = logging.getLogger("librehps")

MAX_PICTURES = 2000


@dataclass(frozen=True)
class Report:
    """A written report: its file, number of rows, size in bytes and thumbnails."""

    output: Path
    rows: int
    size: int
    pictures: Pictures = field(repr=False)
    judged: Judged | None = None

    def missing(self) -> dict[str, int]:
        """Return the number of rows without a thumbnail by reason, largest first."""
        return self.pictures.missing()


def write_report(
    scores: Scores,
    output: str | Path,
    *,
    overwrite: bool = False,
    title: str | None = None,
    by: str | None = None,
    per: str | None = None,
    pictures: int = MAX_PICTURES,
    pairs: str | Path | None = None,
    calibration: str | Path | None = None,
    format: PairsFormat = "auto",
    root: str | Path | None = None,
    skip_missing: bool = False,
    keep_markup: bool = False,
    watch: Watch | None = None,
) -> Report:
    """Write a score table as one HTML page that opens offline: images, tables and plots.

    `by` is the column of generators and adds a leaderboard. `per` is the column of the groups whose
    best and worst rows are shown (default: prompt). At most `pictures` rows have a thumbnail.
    `pairs`, a preference file read by `read_preferences` with `format`, `root`, `skip_missing` and
    `keep_markup`,
    adds a reliability diagram, calibrated by the file `calibration`; the diagram needs scores with
    `--columns full`. `watch` shows the progress of the thumbnails. Raises UsageError if `output`
    exists or does not end in .html, and NothingScoredError if no row has a score.
    """
    require("report", "librehps report")
    if calibration is not None and pairs is None:
        raise UsageError("--calibration needs --pairs", hint="Add --pairs.")
    page = Path(output)
    check_page(page, overwrite)
    given = as_score_table(scores)
    digest = given.of(scored_rows(given.table, given.origin, REQUIRED_COLUMNS)).digest
    rows = rows_of(given.table, by, per, page.absolute().parent)
    board = None if by is None else _leaderboard(given, by)
    judged = None
    if pairs is not None:
        judged = judge_table(
            read_preferences(pairs, format, root, skip_missing, keep_markup=keep_markup),
            given,
            calibration,
        )
    found = pictures_of(rows, pictures, _cores(), watch or _unwatched)
    contents = Contents(
        title=title or f"Scores of {Path(given.origin).name}",
        record=dict(given.settings),
        digest=digest,
        rows=rows,
        pictures=found,
        leaderboard=board,
        agreement=None if judged is None or pairs is None else _agreement(judged, Path(pairs)),
    )
    return Report(page, len(given), write_page(contents, page), found, judged)


def _unwatched(made: Iterator[Thumbnail], total: int) -> Iterator[Thumbnail]:
    return made


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _leaderboard(scores: ScoreTable, by: str) -> Leaderboard | None:
    """Return the leaderboard by an existing column; None, with a warning, if not possible."""
    try:
        return leaderboard(scores, by)
    except UsageError as error:
        log.warning("report without leaderboard: %s", error)
        return None


def _agreement(judged: Judged, file: Path) -> Agreement:
    """Return the agreement on the pairs; with calibration, on pairs not used to calibrate."""
    evaluation = evaluate(judged.chosen(), judged.calibrators)
    figures, is_calibrated = evaluation.aggregate, judged.calibrators is not None
    # Several benchmarks together have no interval.
    only = evaluation.benchmarks[0] if len(evaluation.benchmarks) == 1 else {}
    return Agreement(
        source=file.name,
        pairs=figures["n"],
        points=evaluation.reliability,
        accuracy=figures["pair_acc"],
        interval=only.get("pair_acc_ci"),
        ece=figures["ece"],
        ece_calibrated=figures["ece_calibrated"],
        calibrated=is_calibrated,
        held_out=is_calibrated,
    )
