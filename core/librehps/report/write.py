"""Write the HTML report of scored rows."""

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from librehps.choices import PairsFormat
from librehps.decide.leaderboard import leaderboard
from librehps.decide.standings import Leaderboard
from librehps.errors import MediaNotFoundError, UsageError
from librehps.evaluate.evaluation import evaluate
from librehps.evaluate.judged import Judged, judge_table
from librehps.extras import require
from librehps.preferences.column_names import PairColumns
from librehps.preferences.read import read_preferences
from librehps.report.choose import Places, chosen_rows
from librehps.report.figures import Agreement
from librehps.report.page import Contents, check_page, room_for_pictures, write_page
from librehps.scores.score_table import Scores, ScoreTable, as_score_table
from librehps.scores.select import scored_rows

if TYPE_CHECKING:
    from librehps.report.pictures import Pictures, Watch
    from librehps.report.thumbnails import Thumbnail

log = logging.getLogger("librehps")

MAX_PICTURES = 2000
REQUIRED_COLUMNS = ("overall", "overall_mu")


@dataclass(frozen=True)
class Report:
    """A written report: its file, number of rows, size in bytes and thumbnails.

    `shown` is the number of rows that are on the page one by one; its figures are of all `rows`.
    """

    output: Path
    rows: int
    size: int
    pictures: "Pictures" = field(repr=False)
    judged: Judged | None = None
    shown: int = 0

    @property
    def lost(self) -> int:
        """The number of rows whose media were looked for and not found."""
        from librehps.report.thumbnails import REASONS

        return self.missing().get(REASONS[MediaNotFoundError], 0)

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
    allow_remote: bool = False,
    skip_missing: bool = False,
    keep_markup: bool = False,
    columns: PairColumns | None = None,
    watch: "Watch | None" = None,
) -> Report:
    """Write a score table as one HTML page that opens offline: images, tables and plots.

    A page is smaller than 20 MB: its figures are of all rows; of many rows it shows the extremes
    and a sample. `root` is the folder or URL in which the media lie now (default: where the scored
    file says), `allow_remote` reads media at URLs that the rows name.
    `by` is the column of generators and adds a leaderboard. `per` is the column of the groups whose
    best and worst rows are shown (default: prompt). At most `pictures` rows have a thumbnail.
    `pairs`, a preference file read by `read_preferences` with `format`, `root`, `skip_missing`,
    `keep_markup` and `columns`, adds a reliability diagram, calibrated by the file `calibration`;
    the diagram needs scores with `--columns full`. `watch` shows the progress of the thumbnails.
    Raises UsageError if `output` exists or does not end in .html, and NothingScoredError if no row
    has a score.
    """
    require("report", "librehps report")
    if calibration is not None and pairs is None:
        raise UsageError("--calibration needs --pairs", hint="Add --pairs.")
    page = Path(output)
    check_page(page, overwrite)
    given = as_score_table(scores)
    scored_rows(given.source, given.origin, REQUIRED_COLUMNS)
    rows = chosen_rows(given, by, per, Places(page.absolute().parent, root, allow_remote))
    board = None if by is None else _leaderboard(given, by)
    judged = None
    if pairs is not None:
        judged = judge_table(
            read_preferences(
                pairs, format, root, skip_missing, keep_markup=keep_markup, columns=columns
            ),
            given,
            calibration,
        )
    # Loads torch, whose memory is then not added to that of the columns.
    from librehps.report.pictures import pictures_of

    room = room_for_pictures(rows)
    found = pictures_of(rows, pictures, _cores(), watch or _unwatched, room)
    contents = Contents(
        title=title or f"Scores of {Path(given.origin).name}",
        record=dict(given.settings),
        digest=given.digest,
        rows=rows,
        pictures=found,
        leaderboard=board,
        agreement=None if judged is None or pairs is None else _agreement(judged, Path(pairs)),
    )
    size = write_page(contents, page)
    return Report(page, len(given), size, found, judged, shown=len(rows.media))


def _unwatched(made: "Iterator[Thumbnail]", total: int) -> "Iterator[Thumbnail]":
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
