"""librehps tag: ratings of 1 to 5 stars, where picture tools read them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from librehps.choices import SidecarNames
from librehps_cli.ui.errors import exit_code
from librehps_cli.ui.help import OUTPUT, examples
from librehps_cli.ui.media_root import MediaRoot
from librehps_cli.ui.options import Json, Quiet, ScoredFiles, grouped
from librehps_cli.ui.output import Output, bar

if TYPE_CHECKING:
    from librehps.ratings.tag import Tagged

RATING = "Rating"
# More media that cannot be tagged are counted instead of named.
MAX_NAMED_MEDIA = 5
BAR_CELLS = 20


@dataclass(frozen=True)
class RatingOptions:
    """Flags that say which rating a file gets, and where."""

    by: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN",
            help="Rate by this axis or numeric column (default: overall).",
            show_default=False,
            rich_help_panel=RATING,
        ),
    ] = None
    per: Annotated[
        str | None,
        typer.Option(
            metavar="prompt|folder|all|COLUMN",
            help="Rate within each prompt, folder or value of a column; all: one group (default: "
            "the column group, else the prompt).",
            show_default=False,
            rich_help_panel=RATING,
        ),
    ] = None
    sidecar: Annotated[
        SidecarNames,
        typer.Option(
            metavar="NAMES",
            help="Name sidecars a.png.xmp (full), a.xmp (stem), or write both.",
            rich_help_panel=OUTPUT,
        ),
    ] = "both"
    embed: Annotated[
        bool,
        typer.Option(
            "--embed",
            help="Write ratings inside PNG, JPEG and WebP files instead; pixels do not change.",
            rich_help_panel=OUTPUT,
        ),
    ] = False
    remove: Annotated[
        bool,
        typer.Option(
            "--remove",
            help="Take the ratings away: from sidecars, or with --embed from inside the files.",
            rich_help_panel=OUTPUT,
        ),
    ] = False
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Print what would change, and change nothing.", rich_help_panel=OUTPUT
        ),
    ] = False


@examples(
    "librehps tag scores.parquet --dry-run",
    "librehps tag scores.parquet --remove",
)
@grouped
def tag(
    scores: ScoredFiles,
    rating: RatingOptions,
    root: MediaRoot = None,
    json: Json = None,
    quiet: Quiet = False,
) -> None:
    """Write ratings of 1 to 5 stars (xmp:Rating) for picture tools, by quantile in the prompt.

    The best fifth of each prompt gets 5 stars. Ratings go into XMP sidecars next to the media, or
    with --embed inside PNG, JPEG and WebP files.
    """
    from librehps.ratings.tag import tag as write

    out = Output(quiet, json)
    done = write(
        scores,
        sidecar=rating.sidecar,
        embed=rating.embed,
        remove=rating.remove,
        by=rating.by,
        per=rating.per,
        dry_run=rating.dry_run,
        root=root,
        watch=out.progress,
    )
    if out.json:
        out.records([done.record()])
    elif not rating.remove:
        _print_ratings(done, out)
    _print_notes(done, rating, out)
    raise typer.Exit(exit_code(done.changed + done.unchanged, done.failed.total()))


def _print_ratings(done: "Tagged", out: Output) -> None:
    total = max(done.ratings.total(), 1)
    rows = []
    for stars in range(5, 0, -1):
        count = done.ratings[stars]
        rows.append([str(stars), f"{bar(count / total, BAR_CELLS)} {count}"])
    out.table(["rating", "media"], rows)


def _print_notes(done: "Tagged", rating: RatingOptions, out: Output) -> None:
    failed = done.failed.total()
    named = list(done.errors.items())[:MAX_NAMED_MEDIA]
    for name, reason in named:
        out.error(f"{name}: {reason}")
    if failed > len(named):
        out.error(f"and {failed - len(named)} more media that cannot be tagged")
    what = "untagged" if rating.remove else "tagged"
    would = " would be" if rating.dry_run else ""
    out.note(
        f"{done.changed} media{would} {what}, {done.unchanged} unchanged, {failed} with errors"
    )
    if done.replaced:
        out.note(f"{done.replaced} had another rating, which --remove brings back")
    if done.edited:
        out.note(
            f"{done.edited} were edited after they were tagged: only librehps's own properties are "
            "removed"
        )
    if done.shared:
        out.note(
            f"{done.shared} share a name with other media, such as a.png with a.jpg: a.xmp is not "
            "written for them"
        )
