"""Flags of the commands that read a file of pairs."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from librehps.choices import PairsFormat
from librehps.rowfiles import KNOWN
from librehps_cli.ui.help import INPUT, OUTPUT
from librehps_cli.ui.options import choices

VERDICT = "Verdict"


@dataclass(frozen=True)
class PairsOptions:
    """Flags that say how a file of pairs is read."""

    format: Annotated[
        PairsFormat,
        typer.Option(
            metavar="FORMAT",
            help=f"Layout of the file of pairs: {choices(PairsFormat)}; auto: by its columns.",
            rich_help_panel=INPUT,
        ),
    ] = "auto"
    root: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER",
            help="Base folder of relative paths in the file of pairs (default: the file's folder).",
            show_default=False,
            rich_help_panel=INPUT,
        ),
    ] = None
    a_column: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN",
            help="Column of the file of pairs with media a (default: media_a, image_1, chosen, "
            "...).",
            show_default=False,
            rich_help_panel=INPUT,
        ),
    ] = None
    b_column: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN",
            help="Column with media b (default: media_b, image_2, rejected, ...).",
            show_default=False,
            rich_help_panel=INPUT,
        ),
    ] = None
    winner_column: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN",
            help="Column, or question of an annotation tool, that names the preferred side "
            "(default: winner, label, ...).",
            show_default=False,
            rich_help_panel=INPUT,
        ),
    ] = None
    winner_values: Annotated[
        str | None,
        typer.Option(
            metavar="A,B[,TIE]",
            help="Values of the winner column that mean a, b and a tie: 1,0 or left,right,same.",
            show_default=False,
            rich_help_panel=INPUT,
        ),
    ] = None
    prompt_column: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN",
            help="Column of the file of pairs with the prompt (default: prompt, caption, text).",
            show_default=False,
            rich_help_panel=INPUT,
        ),
    ] = None
    rename: Annotated[
        list[str] | None,
        typer.Option(
            metavar="OLD=NEW",
            help="Rename a column of the file of pairs. Repeatable.",
            show_default=False,
            rich_help_panel=INPUT,
        ),
    ] = None


@dataclass(frozen=True)
class PreferenceOptions(PairsOptions):
    """Flags that say how a file of preferences is read."""

    skip_missing: Annotated[
        bool,
        typer.Option(
            "--skip-missing", help="Skip pairs whose media are not found.", rich_help_panel=INPUT
        ),
    ] = False
    keep_markup: Annotated[
        bool,
        typer.Option(
            "--keep-markup",
            help="Keep tags such as <lora:name:0.8> in prompts.",
            rich_help_panel=INPUT,
        ),
    ] = False


@dataclass(frozen=True)
class VerdictOptions:
    """Flags that say how two scores become a verdict, and how much of it is printed."""

    symmetric: Annotated[
        bool,
        typer.Option(
            "--symmetric/--plain",
            help="symmetric: the mean probability of both orders; plain: one order, whose "
            "calibration offset favours one side.",
            rich_help_panel=VERDICT,
        ),
    ] = True
    explain: Annotated[
        bool,
        typer.Option(
            "--explain", help="Show the difference on each axis.", rich_help_panel=VERDICT
        ),
    ] = False


PairsFile = Annotated[
    str,
    typer.Argument(
        metavar="PAIRS",
        help=f"File of preferences, with a row for each pair: {KNOWN}.",
        show_default=False,
    ),
]
SaveScores = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Write the scores to a .parquet or .jsonl file, for --scores.",
        rich_help_panel=OUTPUT,
    ),
]
Scores = Annotated[
    list[str] | None,
    typer.Option(
        metavar="PATH",
        help="Read scores from this scored file or folder of parts, without a model. Repeatable.",
        show_default=False,
        rich_help_panel=INPUT,
    ),
]
