"""Flags of the commands that score media with a model."""

from dataclasses import dataclass
from typing import Annotated

import typer

from librehps_cli.ui.help import MODEL
from librehps_cli.ui.media_flags import DecodeFlags
from librehps_cli.ui.options import BatchOptions, ModelOptions


@dataclass(frozen=True)
class ScoringOptions(ModelOptions):
    """Flags of commands that score media: those of the model, and the score cache."""

    cache: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER",
            help="Folder that keeps scores for later runs, or none (default: LIBREHPS_CACHE, "
            "else none).",
            show_default=False,
            rich_help_panel=MODEL,
        ),
    ] = None


@dataclass(frozen=True)
class ExplainOptions(DecodeFlags, BatchOptions):
    """Flags of the model for a command that decodes one item at a time, and compares none."""
