"""Flags that write rows to a file, or their media to a folder."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from librehps.choices import NameBy
from librehps_cli.ui.help import OUTPUT
from librehps_cli.ui.options import Overwrite

if TYPE_CHECKING:
    from librehps.storage.url_path import AnyPath


@dataclass(frozen=True)
class OutputOptions:
    """Flags that name the output file."""

    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Write whole rows to a .parquet, .jsonl, .csv or .tsv file or URL, or to - "
            "(stdout).",
            rich_help_panel=OUTPUT,
        ),
    ] = None
    overwrite: Overwrite = False

    @property
    def file(self) -> "AnyPath | None":
        """The output file, or None without --output and for stdout."""
        from librehps.storage.outputs import as_output

        return None if self.output is None or self.to_stdout else as_output(self.output)

    @property
    def is_delimited(self) -> bool:
        """True for a .csv or .tsv file, which is written at the end and cannot be resumed."""
        return self.file is not None and self.file.suffix.lower() in (".csv", ".tsv")

    @property
    def to_stdout(self) -> bool:
        """True for `--output -`."""
        return self.output == "-"

    def check(self) -> None:
        """Raise UsageError for invalid flags, and for an output that already exists."""
        from librehps.scores.writer import check_table_output

        if self.file is not None:
            check_table_output(self.file, self.overwrite)


@dataclass(frozen=True)
class ResultOptions(OutputOptions):
    """Flags that name the output file, and the folder for the media of its rows."""

    copy_to: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Copy the media to this folder; nothing is written outside it, or overwritten.",
            rich_help_panel=OUTPUT,
        ),
    ] = None
    link_to: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Link to the media from this folder.", rich_help_panel=OUTPUT
        ),
    ] = None

    move_to: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Move the media to this folder, with their sidecars (a.txt, a.json, a.xmp).",
            rich_help_panel=OUTPUT,
        ),
    ] = None
    name: Annotated[
        NameBy | None,
        typer.Option(
            metavar="BY",
            help="Name the files in the folder by: original, rank (0001_a.png) or score "
            "(0.731_a.png).",
            rich_help_panel=OUTPUT,
        ),
    ] = None
    sidecars: Annotated[
        bool | None,
        typer.Option(
            "--sidecars/--no-sidecars",
            help="Take the sidecars along, or leave them (default: with --move-to only).",
            show_default=False,
            rich_help_panel=OUTPUT,
        ),
    ] = None

    @property
    def folder(self) -> Path | None:
        """The folder of --copy-to, --link-to or --move-to."""
        return self.copy_to or self.link_to or self.move_to

    @property
    def placing(self) -> dict[str, Any]:
        """The keywords for the library that say how media come into the folder."""
        return {"link": self.link_to is not None, "move": self.move_to is not None,
                "sidecars": self.sidecars}  # fmt: skip

    def check(self) -> None:
        """Raise UsageError for invalid flags, and for an output that already exists."""
        from librehps.errors import UsageError

        super().check()
        flags = {"--copy-to": self.copy_to, "--link-to": self.link_to, "--move-to": self.move_to}
        given = [flag for flag, folder in flags.items() if folder]
        if len(given) > 1:
            raise UsageError(
                f"{' and '.join(given)} cannot be used together",
                hint="Give one of them.",
            )
        if not given and (self.name or self.sidecars is not None):
            flag = "--name" if self.name else "--sidecars"
            raise UsageError(f"{flag} needs a folder for the media", hint="Add --copy-to FOLDER.")
