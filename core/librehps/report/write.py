"""Write the HTML report of scored rows."""

import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from librehps.choices import PairsFormat
from librehps.decide.calibrators import PlattCalibrators
from librehps.decide.distinct import Looks, count_looks
from librehps.decide.leaderboard import leaderboard
from librehps.decide.standings import Leaderboard
from librehps.errors import MediaNotFoundError, UsageError
from librehps.evaluate.evaluation import evaluate
from librehps.evaluate.judged import Judged, judge_table
from librehps.extras import require
from librehps.preferences.column_names import PairColumns
from librehps.preferences.read import read_preferences
from librehps.report.bundle import Bundle, bundle_to, check_bundle
from librehps.report.choose import Places, chosen_rows
from librehps.report.conclusion import text_of
from librehps.report.data import Rows
from librehps.report.explained import Anchors, anchors_of, links_of, pages_in, relative_links
from librehps.report.figures import Agreement
from librehps.report.page import Contents, check_page, render, room_for_pictures, write_page
from librehps.report.permitted import OUTSIDE
from librehps.report.shown import Made, Pictures, Watch
from librehps.report.survey import check_generators
from librehps.scores.score_table import Scores, ScoreTable, as_score_table
from librehps.scores.select import scored_rows

log = logging.getLogger("librehps")

MAX_PICTURES = 2000
REQUIRED_COLUMNS = ("overall", "overall_mu")


@dataclass(frozen=True)
class Report:
    """A written report: its file, number of rows, size in bytes and thumbnails.

    `shown` is the number of rows that are on the page one by one; its figures are of all `rows`.
    `conclusion` is the text at the head of the page. A bundle holds `bundled` larger pictures and
    clips; `unbundled` did not fit.
    """

    output: Path
    rows: int
    size: int
    pictures: Pictures = field(repr=False)
    judged: Judged | None = None
    shown: int = 0
    conclusion: str = ""
    bundled: int = 0
    unbundled: int = 0

    @property
    def lost(self) -> int:
        """The number of rows whose media were not found, or that a bundle may not take."""
        from librehps.report.thumbnails import REASONS

        found = self.missing()
        return found.get(REASONS[MediaNotFoundError], 0) + found.get(OUTSIDE, 0)

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
    calibration: str | Path | PlattCalibrators | None = None,
    format: PairsFormat = "auto",
    root: str | Path | None = None,
    allow_remote: bool = False,
    skip_missing: bool = False,
    keep_markup: bool = False,
    columns: PairColumns | None = None,
    watch: Watch | None = None,
    explain: str | Path | None = None,
    bundle_mb: int | None = None,
) -> Report:
    """Write a score table as one HTML page that opens offline: images, tables and plots.

    A page is smaller than 20 MB: its figures are of all rows; of many rows it shows the extremes
    and a sample. `root` is the folder or URL in which the media lie now (default: where the scored
    file says), `allow_remote` reads media at URLs that the rows name.
    `by` is the column of generators and adds a leaderboard. `per` is the column of the groups whose
    best and worst rows are shown (default: prompt). At most `pictures` rows have a thumbnail.
    `pairs`, a preference file read by `read_preferences` with `format`, `root`, `skip_missing`,
    `keep_markup` and `columns`, adds a reliability diagram, calibrated by `calibration` as in
    `judge_table`; the diagram needs scores with `--columns full`. `watch` shows the progress of
    the thumbnails.
    `explain` is a page of `librehps explain`, or a folder of such pages: cards link to them.
    `bundle_mb` writes a .zip instead: the page with larger pictures, clips and explanations next to
    it, which take at most that many megabytes; only media below the folder of the scored file or
    below `root` are in a bundle. Raises UsageError if `output` exists or does not end
    in .html (a bundle: .zip), and NothingScoredError if no row has a score.
    """
    require("report", "librehps report")
    if calibration is not None and pairs is None:
        raise UsageError("--calibration needs --pairs", hint="Add --pairs.")
    page = Path(output)
    if bundle_mb is None:
        check_page(page, overwrite)
    else:
        check_bundle(page, overwrite)
    explanations = [] if explain is None else pages_in(Path(explain))
    anchors = anchors_of(explanations) if explanations else {}
    given = as_score_table(scores)
    scored_rows(given.source, given.origin, REQUIRED_COLUMNS)
    board, no_board = (None, None) if by is None else _leaderboard(given, by)
    strongest = [one.generator for one in board.boards[0].standings] if board else []
    places = Places(page.absolute().parent, root, allow_remote, bundle_mb is not None)
    rows = chosen_rows(given, by, per, places, strongest)
    judged = None
    if pairs is not None:
        judged = judge_table(
            read_preferences(
                pairs, format, root, skip_missing, keep_markup=keep_markup, columns=columns
            ),
            given,
            calibration,
        )
    contents = Contents(
        title=title or f"Scores of {Path(given.origin).name}",
        record=dict(given.settings),
        digest=given.digest,
        rows=rows,
        pictures=Pictures([], [], []),
        leaderboard=board,
        looks=_looks(given, rows),
        no_board=no_board,
        agreement=None if judged is None or pairs is None else _agreement(judged, Path(pairs)),
    )
    make = _Pictures(pictures, watch or _unwatched)
    if bundle_mb is None:
        links = relative_links(explanations, places.page)
        contents = make(replace(contents, explained=links_of(rows, anchors, links)))
        size, bundle = write_page(contents, page), None
    else:
        contents, bundle = _write_bundle(contents, make, page, bundle_mb, explanations, anchors)
        size = page.stat().st_size
    return Report(
        page,
        len(given),
        size,
        contents.pictures,
        judged,
        shown=len(rows.media),
        conclusion=text_of(contents.conclusion),
        bundled=bundle.kept if bundle else 0,
        unbundled=bundle.left_out if bundle else 0,
    )


@dataclass(frozen=True)
class _Pictures:
    """Adds the pictures to a page without pictures: of at most `limit` rows, with progress."""

    limit: int
    watch: Watch

    def __call__(self, contents: Contents, bundle: Bundle | None = None) -> Contents:
        # Loads torch, whose memory is then not added to that of the columns.
        from librehps.report.pictures import pictures_of

        room = room_for_pictures(contents)
        made = pictures_of(contents.rows, self.limit, _cores(), self.watch, room, bundle)
        return replace(contents, pictures=made)


def _write_bundle(
    contents: Contents,
    make: _Pictures,
    output: Path,
    max_mb: int,
    explanations: Sequence[Path],
    anchors: Anchors,
) -> tuple[Contents, Bundle]:
    with bundle_to(output, max_mb) as bundle:
        bundle.copy(explanations, "explanations")
        explained = links_of(contents.rows, anchors, bundle.links)
        contents = make(replace(contents, explained=explained, is_bundle=True), bundle)
        bundle.write_page(render(contents))
    return contents, bundle


def _unwatched(made: Iterator[Made], total: int) -> Iterator[Made]:
    return made


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _leaderboard(scores: ScoreTable, by: str) -> tuple[Leaderboard | None, str | None]:
    """Return the leaderboard by an existing column, or None and the reason, with a warning."""
    check_generators(scores.source, by)
    try:
        return leaderboard(scores, by), None
    except UsageError as error:
        log.warning("report without leaderboard: %s", error)
        return None, str(error)


def _looks(scores: ScoreTable, rows: Rows) -> Looks | None:
    """Return the number of looks; None, with a warning, for hashes of another kind."""
    group = rows.columns["group"]
    try:
        return count_looks(scores, group and group["name"])
    except UsageError as error:
        log.warning("near-duplicates are not counted: %s", error)
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
