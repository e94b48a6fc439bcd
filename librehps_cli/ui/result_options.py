"""Flags that write rows to a file, or their media to a folder."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

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
            help="Write whole rows to a .parquet or .jsonl file or URL, or to - (stdout).",
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
    def to_stdout(self) -> bool:
        """True for `--output -`."""
        return self.output == "-"

    def check(self) -> None:
        """Raise UsageError for invalid flags, and for an output that already exists."""
        from librehps.scores.writer import check_output

        if self.file is not None:
            check_output(self.file, self.overwrite)


@dataclass(frozen=True)
class ResultOptions(OutputOptions):
    """Flags that name the output file, and the folder for the media of its rows."""

    copy_to: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Copy the media to this folder.", rich_help_panel=OUTPUT
        ),
    ] = None
    link_to: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Link to the media from this folder.", rich_help_panel=OUTPUT
        ),
    ] = None

    @property
    def folder(self) -> Path | None:
        """The folder of --copy-to or --link-to."""
        return self.copy_to or self.link_to

    def check(self) -> None:
        """Raise UsageError for invalid flags, and for an output that already exists."""
        from librehps.errors import UsageError

        super().check()
        if self.copy_to and self.link_to:
            raise UsageError(
                "--copy-to and --link-to cannot be used together", hint="Leave out one of them."
            )
