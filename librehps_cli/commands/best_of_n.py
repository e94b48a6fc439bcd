"""librehps best-of-n: the best item of each group."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import typer

from librehps_cli.ui.best_of_n_output import (
    deliver,
    print_curve,
    print_errors,
    print_picks,
    summarise,
)
from librehps_cli.ui.conditions import Distinct, DistinctBits, Where, distinct_of
from librehps_cli.ui.errors import exit_code, print_unread
from librehps_cli.ui.help import INPUT, OUTPUT, examples
from librehps_cli.ui.options import (
    PromptOptions,
    Quiet,
    RenamedWeights,
    SourceFlags,
    grouped,
)
from librehps_cli.ui.output import Output
from librehps_cli.ui.result_options import ResultOptions
from librehps_cli.ui.scored import kept_scores, scores_of
from librehps_cli.ui.scoring_options import ScoringOptions
from librehps_cli.ui.weighing import JoinOptions, WeightOptions

CHOICE = "Choice"


@dataclass(frozen=True)
class ChoiceOptions:
    """Flags that say how items are grouped, and by which score the best is chosen."""

    per: Annotated[
        str | None,
        typer.Option(
            metavar="prompt|folder|all|COLUMN",
            help="Group the items by prompt, by folder or by a column; all: one group (default: "
            "the column group, else the prompt).",
            show_default=False,
            rich_help_panel=CHOICE,
        ),
    ] = None
    per_match: Annotated[
        str | None,
        typer.Option(
            metavar="REGEX",
            help=r"Group the items by the part of the id that matches: '^(.*)_'.",
            rich_help_panel=CHOICE,
        ),
    ] = None
    axis: Annotated[
        str | None,
        typer.Option(
            metavar="AXIS",
            help="Choose by this axis (default: overall).",
            show_default=False,
            rich_help_panel=CHOICE,
        ),
    ] = None
    top: Annotated[
        int,
        typer.Option(
            metavar="N", min=1, help="Choose the best N of each group.", rich_help_panel=CHOICE
        ),
    ] = 1
    where: Where = None
    distinct: Distinct = False
    distinct_bits: DistinctBits = None
    abstain_below: Annotated[
        float | None,
        typer.Option(
            metavar="P",
            min=0.5,
            max=1.0,
            help="Choose nothing in a group if the best beats the next with probability below P.",
            rich_help_panel=CHOICE,
        ),
    ] = None
    curve: Annotated[
        bool,
        typer.Option(
            "--curve",
            help="Print the expected best score of 1, 2, ... N samples, instead of the choices.",
            rich_help_panel=CHOICE,
        ),
    ] = False


@dataclass(frozen=True)
class ChooserOptions(ScoringOptions):
    """Flags of the model, where --weights are those of the axes."""

    model_weights: RenamedWeights = "auto"


Candidates = Annotated[
    list[str],
    typer.Argument(
        metavar="PATH...",
        help="Media, as for `librehps score`, or scored files (.parquet, .jsonl, folders of parts, "
        "or - for JSON Lines on stdin).",
        show_default=False,
        rich_help_panel=INPUT,
    ),
]


@examples(
    "librehps best-of-n examples/media -m tiny --prompt-from sidecar",
    "librehps best-of-n scores.parquet --copy-to best",
)
@grouped
def best_of_n(
    paths: Candidates,
    choice: ChoiceOptions,
    weighing: WeightOptions,
    others: JoinOptions,
    result: ResultOptions,
    sources: SourceFlags,
    prompts: PromptOptions,
    models: ChooserOptions,
    json: Annotated[
        bool | None,
        typer.Option(
            "--json/--table",
            help="Print JSON Lines or a table (default: a table on a terminal, paths in a pipe).",
            show_default=False,
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Print the best item of each group: of a prompt, a folder or a column."""
    from librehps.decide.best_of_n import best_of_n as pick
    from librehps.decide.best_of_n import check_choice
    from librehps.decide.distinct import bits_of
    from librehps.decide.groups import check_per
    from librehps.decide.picks import check_names
    from librehps.decide.where import parse_where, rows_where

    by: dict[str, Any] = {"per": choice.per, "per_match": choice.per_match, "axis": choice.axis}
    by |= asdict(weighing)
    weights = check_choice(**by)
    is_overall = weights.axis == "overall"
    result.check()
    out = Output(quiet, json)
    where = parse_where(choice.where or (), "--where")
    distinct = distinct_of(choice.distinct, choice.distinct_bits)
    hashes, axes = bits_of(distinct) is not None, others.own([*weights.weights])
    flags = (sources, prompts, models)
    kept = kept_scores(result.move_to, paths, flags, hashes, choice.where)
    is_written = result.file is not None or result.to_stdout or json is True

    def check(columns: Sequence[str]) -> None:
        if choice.per is not None and not others.with_files:
            check_per(columns, choice.per)
        if is_written:
            check_names(columns)

    scored = scores_of(
        paths,
        sources,
        prompts,
        models,
        out,
        axes,
        hashes=hashes,
        where=where,
        check=check,
        joined=bool(others.with_files),
        kept=kept,
    )
    scores = rows_where(others.join(scored.scores, out), where)
    failed = print_errors(scores.errors(), scored.is_new, out)
    if is_overall and choice.abstain_below is not None:
        scored.check_calibrated("--abstain-below")
    picked = pick(
        scores,
        **by,
        top=choice.top,
        distinct=distinct,
        abstain_below=choice.abstain_below,
        calibrator=scored.calibrator,
    )
    if is_overall and not picked.is_calibrated and not choice.curve:
        out.note(f"no win probabilities: {scored.why_uncalibrated}")
    with kept.held(scored.scores) if kept is not None and scored.is_new else nullcontext():
        copied = deliver(picked, result, sources, out)
    missing = 0 if copied is None else len(copied.failed)
    if choice.curve:
        print_curve(picked, out)
    elif result.to_stdout or not (result.file or result.folder) or json is not None:
        shown = True if result.to_stdout else json
        missing = max(missing, print_picks(picked, shown, out, sources.root, copied))
    if not choice.curve:
        summarise(picked, out)
    unread = print_unread(scored.passed_over, out)
    done = len(picked.picks.taken_rows) - missing if missing else len(picked.rows)
    raise typer.Exit(exit_code(done, failed + unread + missing))
