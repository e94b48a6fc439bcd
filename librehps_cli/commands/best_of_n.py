"""librehps best-of-n: the best of each prompt's items."""

from dataclasses import dataclass
from typing import Annotated

import typer

from librehps_cli.ui.best_of_n_output import (
    deliver,
    print_curve,
    print_picks,
    summarise,
    tell_errors,
)
from librehps_cli.ui.errors import exit_code
from librehps_cli.ui.options import (
    ModelOptions,
    PromptOptions,
    Quiet,
    SourceFlags,
    grouped,
)
from librehps_cli.ui.output import Output
from librehps_cli.ui.result_options import ResultOptions
from librehps_cli.ui.scored import scores_of

CHOICE = "Choice"


@dataclass(frozen=True)
class ChoiceOptions:
    """Flags that say which items compete, and by which score."""

    per: Annotated[
        str | None,
        typer.Option(
            metavar="prompt|folder|COLUMN",
            help="What competes: items of one prompt, of one folder, of one value of a column "
            "(default: the column group, else the prompt).",
            show_default=False,
            rich_help_panel=CHOICE,
        ),
    ] = None
    per_match: Annotated[
        str | None,
        typer.Option(
            metavar="REGEX",
            help=r"Items compete whose ids agree in what it matches, or in its groups: '^(.*)_'.",
            rich_help_panel=CHOICE,
        ),
    ] = None
    axis: Annotated[
        str | None,
        typer.Option(
            help="Choose by this axis (default: overall).",
            show_default=False,
            rich_help_panel=CHOICE,
        ),
    ] = None
    weights: Annotated[
        str | None,
        typer.Option(
            metavar="AXIS=W,...",
            help="Choose by a weighted sum of mus: overall=1,alignment=0.5.",
            rich_help_panel=CHOICE,
        ),
    ] = None
    top: Annotated[
        int, typer.Option(min=1, help="The best so many of each.", rich_help_panel=CHOICE)
    ] = 1
    abstain_below: Annotated[
        float | None,
        typer.Option(
            metavar="P",
            min=0.5,
            max=1.0,
            help="Choose nothing where the last chosen beats the next with less than P.",
            rich_help_panel=CHOICE,
        ),
    ] = None
    curve: Annotated[
        bool,
        typer.Option(
            "--curve",
            help="Print the expected best score of n = 1, 2, ... samples instead of the picks.",
            rich_help_panel=CHOICE,
        ),
    ] = False


Candidates = Annotated[
    list[str],
    typer.Argument(
        help="Media, as for `librehps score`, or scored files (.parquet .jsonl, folders of parts, "
        "- for rows on stdin).",
        show_default=False,
    ),
]


@grouped
def best_of_n(
    paths: Candidates,
    choice: ChoiceOptions,
    result: ResultOptions,
    sources: SourceFlags,
    prompts: PromptOptions,
    models: ModelOptions,
    json: Annotated[
        bool | None,
        typer.Option(
            "--json/--table",
            help="JSON Lines, or a table (default: paths in a pipe).",
            show_default=False,
        ),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Print the best item of each prompt, folder or column; --top K prints more."""
    from librehps.decide.best_of_n import best_of_n as pick
    from librehps.decide.best_of_n import check_choice

    by = {"per": choice.per, "per_match": choice.per_match}
    by |= {"axis": choice.axis, "weights": choice.weights}
    weights = check_choice(**by)
    is_overall = weights.axis == "overall"
    result.check()
    out = Output(quiet, json)
    scored = scores_of(paths, sources, prompts, models, out, [*weights.weights])
    failed = scored.scores.errors()
    tell_errors(failed, out)
    if is_overall and choice.abstain_below is not None:
        scored.check_calibrated("--abstain-below")
    picked = pick(
        scored.scores,
        **by,
        top=choice.top,
        abstain_below=choice.abstain_below,
        calibrator=scored.calibrator,
    )
    if is_overall and not picked.is_calibrated and not choice.curve:
        out.note(f"no win probabilities: {scored.why_uncalibrated}")
    deliver(picked, result)
    if choice.curve:
        print_curve(picked, out)
    elif result.to_stdout or not (result.file or result.folder) or json is not None:
        print_picks(picked, True if result.to_stdout else json, out)
    if not choice.curve:
        summarise(picked, out)
    raise typer.Exit(exit_code(len(picked.rows), len(failed)))
