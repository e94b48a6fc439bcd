"""librehps report: scored files as one HTML page."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from librehps.errors import UsageError
from librehps.files import counted
from librehps_cli.ui.conditions import Where
from librehps_cli.ui.errors import OK, SOME_ERRORS
from librehps_cli.ui.help import INPUT, OUTPUT, examples
from librehps_cli.ui.media_root import AllowRemote
from librehps_cli.ui.options import Overwrite, Quiet, ScoredFiles, grouped
from librehps_cli.ui.output import Output
from librehps_cli.ui.pair_options import PreferenceOptions
from librehps_cli.ui.preferences import pair_columns, print_pair_counts, print_skipped_pairs

if TYPE_CHECKING:
    from librehps.report.write import Report

PAGE, DEFAULT_PICTURES, DEFAULT_BUNDLE_MB = "Page", 2000, 100


@dataclass(frozen=True)
class PageOptions:
    """Flags that name the page's file and say what the page shows."""

    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="The .html file to write; with --bundle a .zip file.",
            rich_help_panel=OUTPUT,
        ),
    ]
    overwrite: Overwrite = False
    title: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            help="Title of the page (default: the file's name).",
            show_default=False,
            rich_help_panel=PAGE,
        ),
    ] = None
    by: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN",
            help="Add a leaderboard by this column of generators.",
            rich_help_panel=PAGE,
        ),
    ] = None
    per: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN",
            help="Show the best and worst of each group: prompt, folder, group or another column "
            "(default: prompt).",
            show_default=False,
            rich_help_panel=PAGE,
        ),
    ] = None
    pictures: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=0,
            help="Most rows shown with a picture: the best and worst first, then a sample.",
            rich_help_panel=PAGE,
        ),
    ] = DEFAULT_PICTURES
    pairs: Annotated[
        Path | None,
        typer.Option(
            metavar="PAIRS",
            help="Add a reliability diagram from this file of preferences (needs scores with "
            "--columns full).",
            show_default=False,
            rich_help_panel=PAGE,
        ),
    ] = None
    calibration: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Calibration file, for --pairs (default: that of the model, if it is on this "
            "machine).",
            show_default=False,
            rich_help_panel=PAGE,
        ),
    ] = None

    explain: Annotated[
        Path | None,
        typer.Option(
            metavar="PAGE|FOLDER",
            help="Link cards to explanations: a page that explain -o wrote, or a folder of pages.",
            show_default=False,
            rich_help_panel=PAGE,
        ),
    ] = None
    bundle: Annotated[
        bool,
        typer.Option(
            "--bundle",
            help="Write a .zip to send to others: the page, larger pictures, clips and "
            "explanations.",
            rich_help_panel=PAGE,
        ),
    ] = False
    bundle_mb: Annotated[
        int | None,
        typer.Option(
            "--bundle-mb",
            metavar="MB",
            min=1,
            help="Most megabytes of pictures and clips in a bundle: the best and worst first "
            f"(default: {DEFAULT_BUNDLE_MB}).",
            show_default=False,
            rich_help_panel=PAGE,
        ),
    ] = None

    def bundle_room(self) -> int | None:
        """Return the megabytes of a bundle, None for a page alone; raises UsageError."""
        if self.bundle:
            return DEFAULT_BUNDLE_MB if self.bundle_mb is None else self.bundle_mb
        if self.bundle_mb is not None:
            raise UsageError("--bundle-mb needs --bundle", hint="Add --bundle.")
        return None


@dataclass(frozen=True)
class PagePreferences(PreferenceOptions):
    """Flags of the file of preferences; `root` also has the media of the scored files."""

    root: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER",
            help="Folder or URL in which the media lie now, of SCORES and of --pairs (default: as "
            "the scored file records; the folder of PAIRS).",
            show_default=False,
            rich_help_panel=INPUT,
        ),
    ] = None


@examples(
    "librehps report scores.parquet -o report.html",
    "librehps report scores.parquet --by generator --bundle -o team.zip",
)
@grouped
def report_page(
    scores: ScoredFiles,
    page: PageOptions,
    preferences: PagePreferences,
    where: Where = None,
    allow_remote: AllowRemote = False,
    quiet: Quiet = False,
) -> None:
    """Write scored files as one offline HTML page with pictures, tables and plots."""
    from librehps.decide.where import parse_where, rows_where
    from librehps.report.write import write_report
    from librehps.runs.scored import find_calibrators
    from librehps.scores.score_table import read_scores

    conditions = parse_where(where or (), "--where")
    out = Output(quiet)
    table = read_scores(scores)
    fits = None if page.pairs is None else find_calibrators(table, page.calibration)
    written = write_report(
        rows_where(table, conditions) if conditions else table,
        page.output,
        overwrite=page.overwrite,
        title=page.title,
        by=page.by,
        per=page.per,
        pictures=page.pictures,
        pairs=page.pairs,
        calibration=fits or page.calibration,
        format=preferences.format,
        root=preferences.root,
        allow_remote=allow_remote,
        skip_missing=preferences.skip_missing,
        keep_markup=preferences.keep_markup,
        columns=pair_columns(preferences),
        explain=page.explain,
        bundle_mb=page.bundle_room(),
        watch=lambda made, total: out.progress(made, total, "pictures"),
    )
    if written.judged is not None:
        print_pair_counts(written.judged.preferences, out)
        print_skipped_pairs(written.judged, out)
        out.note(written.judged.reason())
    raise typer.Exit(_summarise(written, page, out))


def _summarise(written: "Report", page: PageOptions, out: Output) -> int:
    """Print what the page shows; return the exit code, 3 for a page without any of its pictures."""
    missing, size = written.missing(), f"{written.size / 1e6:.1f} MB"
    if missing:
        reasons = ", ".join(f"{reason} {count}" for reason, count in missing.items())
        out.note(f"no picture for {sum(missing.values())} of {written.shown} rows: {reasons}")
    few = f", {written.shown} of them shown" if written.shown < written.rows else ""
    out.note(f"{page.output}: {counted(written.rows, 'row')}{few}, {size}")
    if page.bundle:
        left = f"; {written.unbundled} left out, raise --bundle-mb" if written.unbundled else ""
        files = counted(written.bundled, "file")
        out.note(f"bundle: {files} (larger pictures, clips, explanations){left}")
    out.note(written.conclusion)
    if written.pictures.images or not written.lost:
        return OK
    out.error(f"none of {written.lost} media found (name their folder: --root FOLDER)")
    return SOME_ERRORS
