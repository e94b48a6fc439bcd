"""Write scored rows as one HTML page."""

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from librehps.choices import PairsFormat
from librehps.decide.leaderboard import leaderboard
from librehps.decide.standings import Leaderboard
from librehps.errors import UsageError
from librehps.evaluate.evaluation import evaluate
from librehps.evaluate.judged import Judged, judge_table
from librehps.extras import require
from librehps.preferences.read import read_preferences
from librehps.report.data import NEEDED, rows_of
from librehps.report.figures import Agreement
from librehps.report.page import Contents, check_page, write_page
from librehps.report.pictures import Pictures, Watch, pictures_of
from librehps.report.thumbnails import Thumbnail
from librehps.scores.score_table import Scores, ScoreTable, as_score_table
from librehps.scores.select import scored_rows

log = logging.getLogger("librehps")

PICTURES = 2000


@dataclass(frozen=True)
class Report:
    """A page that was written: its file, rows, size in bytes, and pictures that are missing."""

    output: Path
    rows: int
    size: int
    pictures: Pictures
    judged: Judged | None = None

    def missing(self) -> dict[str, int]:
        """Rows without a picture, by reason, most first."""
        return self.pictures.missing()


def write_report(
    scores: Scores,
    output: str | Path,
    *,
    overwrite: bool = False,
    title: str | None = None,
    by: str | None = None,
    per: str | None = None,
    pictures: int = PICTURES,
    pairs: str | Path | None = None,
    calibration: str | Path | None = None,
    format: PairsFormat = "auto",
    root: str | Path | None = None,
    skip_missing: bool = False,
    watch: Watch | None = None,
) -> Report:
    """Write a score table as one HTML page, to be opened offline: pictures, tables and plots.

    `by` names the column of generators and adds a leaderboard; `per` the groups whose best and
    worst are shown (default: prompt). At most `pictures` rows have a picture. `pairs`, a file of
    preferences read as `read_preferences` does with `format`, `root` and `skip_missing`, adds a
    reliability diagram, calibrated by the file `calibration`; it needs the columns of
    `--columns full`. `watch` shows the progress of the pictures. Raises UsageError where `output`
    exists or is no .html, and NothingScoredError without a score.
    """
    require("report", "librehps report")
    if calibration is not None and pairs is None:
        raise UsageError("--calibration is for --pairs", hint="Give --pairs too.")
    page = Path(output)
    check_page(page, overwrite)
    given = as_score_table(scores)
    digest = given.of(scored_rows(given.table, given.origin, NEEDED)).digest
    rows = rows_of(given.table, by, per, page.absolute().parent)
    board = None if by is None else _leaderboard(given, by)
    judged = None
    if pairs is not None:
        judged = judge_table(
            read_preferences(pairs, format, root, skip_missing), given, calibration
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
    """The leaderboard by a column, which `rows_of` has found; None where there can be none."""
    try:
        return leaderboard(scores, by)
    except UsageError as error:
        log.warning("the page has no leaderboard: %s", error)
        return None


def _agreement(judged: Judged, file: Path) -> Agreement:
    """The evaluation of the pairs; calibrated, of those that calibration does not fit on."""
    evaluation = evaluate(judged.chosen(), judged.calibrators)
    figures, is_calibrated = evaluation.aggregate, judged.calibrators is not None
    # Of several benchmarks together there is no interval.
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
