"""The flag --root of commands that read scored files, and the message for media not found."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from librehps_cli.ui.help import INPUT
from librehps_cli.ui.output import Output

if TYPE_CHECKING:
    from librehps.scores.media_folder import FoundMedia

MediaRoot = Annotated[
    str | None,
    typer.Option(
        "--root",
        metavar="FOLDER",
        help="Folder or URL in which the media lie now (default: as the scored file records).",
        show_default=False,
        rich_help_panel=INPUT,
    ),
]


AllowRemote = Annotated[
    bool,
    typer.Option(
        "--allow-remote",
        help="Fetch media at the URLs that the scored file names.",
        rich_help_panel=INPUT,
    ),
]


@dataclass(frozen=True)
class MediaFlags:
    """Flags that say where the media of scored files lie."""

    root: MediaRoot = None
    allow_remote: AllowRemote = False


def print_missing(found: "FoundMedia", out: Output) -> None:
    """Print the number of media that were not found, and the first of them."""
    if not found.missing:
        return
    total = len(found.paths) + len(found.missing)
    out.error(
        f"{len(found.missing)} of {total} media not found: {found.missing[0]} "
        "(name their folder: --root FOLDER)"
    )
