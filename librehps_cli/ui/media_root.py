"""The flag --root of commands that read scored files, and the message for media not found."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from librehps_cli.ui.help import INPUT
from librehps_cli.ui.output import Output

if TYPE_CHECKING:
    from librehps.decide.place import Copied

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


def print_missing(missing: Sequence[str], total: int, out: Output) -> None:
    """Print how many of `total` media were not found, and the first of them."""
    if missing:
        out.error(
            f"{len(missing)} of {total} media not found: {missing[0]} "
            "(name their folder: --root FOLDER)"
        )


def print_uncopied(copied: "Copied", out: Output) -> None:
    """Print how many files are not copied, in place of the warning that --quiet hides."""
    if out.quiet and copied.failed:
        lost, first = len(copied.failed), next(iter(copied.failed.values()))
        out.error(f"{lost} of {copied.files + lost} files are not copied: {first}")


def print_moved(copied: "Copied", folder: Path, out: Output) -> None:
    """Print how to find the media that were moved."""
    if copied.moved:
        out.note(
            f"{folder / '_moved.jsonl'} lists where each file was; rows written with -o name the "
            "new places"
        )
