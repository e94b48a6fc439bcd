"""Options for the output of chosen rows: a file, or a folder of their media."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

RESULT = "Result"


@dataclass(frozen=True)
class OutputOptions:
    """The options -o and --overwrite."""

    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Whole rows to X.parquet, X.jsonl, or - for stdout.",
            rich_help_panel=RESULT,
        ),
    ] = None
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the output.", rich_help_panel=RESULT)
    ] = False

    @property
    def file(self) -> Path | None:
        return None if str(self.output) == "-" else self.output

    @property
    def to_stdout(self) -> bool:
        return str(self.output) == "-"

    def check(self) -> None:
        """Raise UsageError if the output is unsupported or exists."""
        from librehps.scores.writer import check_output

        if self.file is not None:
            check_output(self.file, self.overwrite)


@dataclass(frozen=True)
class ResultOptions(OutputOptions):
    """The options of `OutputOptions`, --copy-to and --link-to."""

    copy_to: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Copy the media to DIR.", rich_help_panel=RESULT),
    ] = None
    link_to: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Symbolic links in DIR instead.", rich_help_panel=RESULT),
    ] = None

    @property
    def folder(self) -> Path | None:
        return self.copy_to or self.link_to

    def check(self) -> None:
        """Raise UsageError if the output is unsupported or exists, or the options conflict."""
        from librehps.errors import UsageError

        super().check()
        if self.copy_to and self.link_to:
            raise UsageError("--copy-to and --link-to cannot be used together")
