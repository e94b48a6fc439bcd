"""librehps report: scored files as one page to look at."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from librehps_cli.ui.options import PreferenceOptions, Quiet, grouped
from librehps_cli.ui.output import Output
from librehps_cli.ui.preferences import tell_left_out, tell_pairs

PAGE, PICTURES = "Page", 2000


@dataclass(frozen=True)
class PageOptions:
    """Flags of the page: its content and its file."""

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
    from librehps.report.write import write_report

    out = Output(quiet)
    written = write_report(
        scores,
        page.output,
        overwrite=page.overwrite,
        title=page.title,
        by=page.by,
        per=page.per,
        pictures=page.pictures,
        pairs=page.pairs,
        calibration=page.calibration,
        format=preferences.format,
        root=preferences.root,
        skip_missing=preferences.skip_missing,
        watch=lambda made, total: out.progress(made, total, "pictures"),
    )
    if written.judged is not None:
        tell_pairs(written.judged.preferences, out)
        tell_left_out(written.judged, out)
    missing = written.missing()
    if missing:
        reasons = ", ".join(f"{reason} {count}" for reason, count in missing.items())
        out.note(f"no picture for {sum(missing.values())} of {written.rows} rows: {reasons}")
    out.note(f"{page.output}: {written.rows} rows, {written.size / 1e6:.1f} MB")
