"""librehps report: scored files as one page to look at."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from librehps_cli.ui.options import PreferenceOptions, Quiet, grouped
from librehps_cli.ui.output import Output

if TYPE_CHECKING:
    from librehps.decide.standings import Leaderboard
    from librehps.evaluate.evaluation import Evaluation
    from librehps.report.data import Rows
    from librehps.report.figures import Agreement
    from librehps.report.pictures import Pictures
    from librehps.report.thumbnails import Thumbnail

PAGE, PICTURES = "Page", 2000


@dataclass(frozen=True)
class PageOptions:
    """What the page shows, and where it goes."""

    output: Annotated[Path, typer.Option("--output", "-o", help="X.html.", rich_help_panel=PAGE)]
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the page.", rich_help_panel=PAGE)
    ] = False
    title: Annotated[
        str | None,
        typer.Option(
            help="Of the page (default: of the file).", show_default=False, rich_help_panel=PAGE
        ),
    ] = None
    by: Annotated[
        str | None,
        typer.Option(
            help="Column that names the generators: adds a leaderboard.", rich_help_panel=PAGE
        ),
    ] = None
    per: Annotated[
        str | None,
        typer.Option(
            help="Best and worst of each prompt, group or value of a column (default: prompt).",
            show_default=False,
            rich_help_panel=PAGE,
        ),
    ] = None
    pictures: Annotated[
        int,
        typer.Option(
            min=0,
            help="Rows with a picture at most: best and worst first, then a sample.",
            rich_help_panel=PAGE,
        ),
    ] = PICTURES
    pairs: Annotated[
        Path | None,
        typer.Option(
            help="Preferences: adds a reliability diagram. Needs the columns of --columns full.",
            show_default=False,
            rich_help_panel=PAGE,
        ),
    ] = None
    calibration: Annotated[
        Path | None,
        typer.Option(
            help="File of win probabilities for --pairs.", show_default=False, rich_help_panel=PAGE
        ),
    ] = None


@grouped
def report_page(
    scores: Annotated[
        list[Path],
        typer.Argument(help="Scored files, folders of parts, or - for JSON Lines on stdin."),
    ],
    page: PageOptions,
    preferences: PreferenceOptions,
    quiet: Quiet = False,
) -> None:
    """Write scored files as one HTML page: pictures, tables and plots, to be opened offline."""
    from librehps.errors import UsageError
    from librehps.extras import require

    require("report", "librehps report")
    if page.calibration is not None and page.pairs is None:
        raise UsageError("--calibration is for --pairs", hint="Give --pairs too.")
    from librehps.report.data import NEEDED, rows_of
    from librehps.report.page import Contents, check_page, write_page
    from librehps.scores.read import origin_of, read_table
    from librehps.scores.select import scored_rows

    check_page(page.output, page.overwrite)
    out = Output(quiet)
    table, record = read_table(scores)
    origin = origin_of(scores)
    digest = _digest(scored_rows(table, origin, NEEDED))
    rows = rows_of(table, page.by, page.per, page.output.absolute().parent)
    leaderboard = _leaderboard(table, page.by, origin, out)
    agreement = _agreement(page, preferences, table, record, origin, out)
    title = page.title or f"Scores of {Path(origin).name}"
    pictures = _pictures(rows, page.pictures, out)
    contents = Contents(title, record, digest, rows, pictures, leaderboard, agreement)
    size = write_page(contents, page.output)
    _tell(pictures, out)
    out.note(f"{page.output}: {len(table)} rows, {size / 1e6:.1f} MB")


def _digest(table: Any) -> str | None:
    """The settings of the scored rows."""
    if "settings" not in table.column_names:
        return None
    return next((d for d in table.column("settings").unique().to_pylist() if d), None)


def _leaderboard(table: Any, by: str | None, origin: str, out: Output) -> "Leaderboard | None":
    """The leaderboard by a column, which `rows_of` has found; None where there can be none."""
    if by is None:
        return None
    from librehps.decide.leaderboard import leaderboard
    from librehps.errors import UsageError

    try:
        return leaderboard(table, by, origin=origin)
    except UsageError as error:
        out.note(f"the page has no leaderboard: {error}")
        return None


def _agreement(
    page: PageOptions,
    preferences: PreferenceOptions,
    table: Any,
    record: dict[str, Any],
    origin: str,
    out: Output,
) -> "Agreement | None":
    """The evaluation on --pairs; calibrated, of those that calibration does not fit on."""
    if page.pairs is None:
        return None
    from librehps.evaluate.calibration import fits
    from librehps.evaluate.evaluation import evaluate
    from librehps_cli.ui.preferences import judge_table

    judged = judge_table(page.pairs, preferences, table, record, origin, page.calibration, out)
    calibrated = judged.calibrators is not None
    pairs = judged.pairs.where(~fits(judged.pairs)) if calibrated else judged.pairs
    return _agreed(evaluate(pairs, judged.calibrators), page.pairs, calibrated)


def _agreed(evaluation: "Evaluation", file: Path, calibrated: bool) -> "Agreement":
    from librehps.report.figures import Agreement

    figures = evaluation.aggregate
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
        calibrated=calibrated,
        held_out=calibrated,
    )


def _pictures(rows: "Rows", limit: int, out: Output) -> "Pictures":
    from librehps.engine.engine import default_workers
    from librehps.report.pictures import pictures_of

    def watch(made: "Iterator[Thumbnail]", total: int) -> "Iterator[Thumbnail]":
        return out.progress(made, total, "pictures")

    return pictures_of(rows, limit, default_workers(), watch)


def _tell(pictures: "Pictures", out: Output) -> None:
    """How many rows have no picture, and why."""
    missing = pictures.missing()
    if missing:
        reasons = ", ".join(f"{reason} {count}" for reason, count in missing.items())
        out.note(f"no picture for {sum(missing.values())} of {len(pictures.of)} rows: {reasons}")
