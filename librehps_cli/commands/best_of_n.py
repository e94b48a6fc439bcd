"""librehps best-of-n: the best of each prompt's items."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from librehps.types import AXES
from librehps_cli.ui.best_of_n_output import FEW, PickedGroups, deliver, print_picks, summarise
from librehps_cli.ui.errors import exit_code
from librehps_cli.ui.options import (
    ModelOptions,
    PromptOptions,
    Quiet,
    SourceFlags,
    grouped,
)
from librehps_cli.ui.output import Output, figure
from librehps_cli.ui.result_options import ResultOptions
from librehps_cli.ui.scored import Scored, scores_of

if TYPE_CHECKING:
    from librehps.decide.best_of_n import Ranked
    from librehps.decide.groups import Groups
    from librehps.decide.weights import Weights

CHOICE = "Choice"


@dataclass(frozen=True)
class ChoiceOptions:
    """Who competes with whom, and by what."""

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
    from librehps.decide.best_of_n import pick_best, rank
    from librehps.scores.select import error_counts, scored_rows, text_column

    weights = _weights(choice)
    result.check()
    out = Output(quiet, json)
    scored = scores_of(paths, sources, prompts, models, out)
    failed = sum(error_counts(scored.table).values())
    _tell_errors(scored, out)
    rows = scored_rows(scored.table, scored.origin, _needed(weights))
    for name in ("id", "media", "prompt"):
        text_column(rows, name)
    groups = _groups(rows, choice)
    ranked = rank(_scores(rows, weights, out), groups.codes)
    _warn_of_mixtures(rows, groups, out)
    _check_abstention(choice, weights, scored)
    calibrator = scored.calibrator if weights.axis == "overall" else None
    if weights.axis == "overall" and calibrator is None and not choice.curve:
        out.note(f"no win probabilities: {scored.why_uncalibrated}")
    picks = pick_best(ranked, calibrator, choice.top, choice.abstain_below)
    picked = PickedGroups(rows, groups, picks, weights)
    deliver(picked, scored.settings, result)
    if choice.curve:
        _print_curve(rows, ranked, weights, out)
    elif result.to_stdout or not (result.file or result.folder) or json is not None:
        print_picks(picked, True if result.to_stdout else json, out)
    if not choice.curve:
        summarise(picked, out)
    raise typer.Exit(exit_code(len(rows), failed))


def _weights(choice: ChoiceOptions) -> "Weights":
    from librehps.decide.weights import OVERALL, Weights, parse_weights
    from librehps.errors import UsageError

    if choice.per and choice.per_match:
        raise UsageError("--per and --per-match exclude each other")
    if choice.axis and choice.weights:
        raise UsageError("--axis and --weights exclude each other")
    if choice.axis is not None and choice.axis not in AXES:
        raise UsageError(f"no axis {choice.axis}; there are: {', '.join(AXES)}")
    if choice.axis is not None:
        return Weights({choice.axis: 1.0})
    return OVERALL if choice.weights is None else parse_weights(choice.weights)


def _needed(weights: "Weights") -> list[str]:
    return ["id", "media", "prompt", *(f"{axis}_mu" for axis in weights.weights)]


def _groups(rows: Any, choice: ChoiceOptions) -> "Groups":
    from librehps.decide.groups import group_by, group_by_pattern

    if choice.per_match is not None:
        return group_by_pattern(rows, choice.per_match)
    default = "group" if "group" in rows.column_names else "prompt"
    return group_by(rows, choice.per or default)


def _scores(rows: Any, weights: "Weights", out: Output) -> Any:
    import numpy as np

    from librehps.errors import NothingScoredError

    scores = weights.scores(rows)
    lacking = int(np.isnan(scores).sum())
    if lacking == len(rows):
        raise NothingScoredError(f"no row has a value on {', '.join(weights.weights)}")
    if lacking:
        out.note(f"{lacking} rows without a value on {', '.join(weights.weights)} take no part")
    return scores


def _tell_errors(scored: Scored, out: Output) -> None:
    import pyarrow.compute as pc

    names = [n for n in ("id", "error", "error_type") if n in scored.table.column_names]
    failed = scored.table.filter(pc.not_equal(scored.table.column("status"), "ok")).select(names)
    for row in failed.slice(0, FEW).to_pylist():
        why = row.get("error") or "it does not say why"
        out.error(f"{row.get('id')}: {why} ({row.get('error_type') or 'unknown'})")
    if len(failed) > FEW:
        out.error(f"and {len(failed) - FEW} rows more")


def _warn_of_mixtures(rows: Any, groups: "Groups", out: Output) -> None:
    """Scores of two prompts, or of a still and a clip, were never meant to be compared."""
    import numpy as np

    from librehps.scores.select import group_codes

    for column, what in (("prompt", "several prompts"), ("kind", "both stills and clips")):
        if column not in rows.column_names:
            continue
        pairs = np.unique(np.stack([groups.codes, group_codes(rows, column)]), axis=1)
        held = np.unique(pairs[0], return_counts=True)[1]
        mixed = int((held > 1).sum())
        if mixed:
            out.note(
                f"{mixed} of {len(held)} groups hold {what}: scores across them compare poorly"
            )


def _check_abstention(choice: ChoiceOptions, weights: "Weights", scored: Scored) -> None:
    from librehps.errors import UsageError

    if choice.abstain_below is None:
        return
    if weights.axis != "overall":
        raise UsageError("--abstain-below needs win probabilities, which only overall has")
    if scored.calibrator is None:
        raise UsageError(
            f"--abstain-below needs win probabilities: {scored.why_uncalibrated}",
            hint="Copy calibration.json from the model's folder, and give it by --calibration.",
        )


def _print_curve(rows: Any, ranked: "Ranked", weights: "Weights", out: Output) -> None:
    """Of an axis its mean in [0, 1], of several the mixed mu."""
    from librehps.decide.curve import curve

    found = curve(ranked, weights.shown(weights.scores(rows)))
    points = [
        {"n": n, "expected_best": point.value, "low": point.low, "high": point.high,
         "gain": point.value - found.points[n - 2].value if n > 1 else None}
        for n, point in enumerate(found.points, 1)
    ]  # fmt: skip
    if out.json:
        out.records(points)
    else:
        out.table(["n", "expected best", "95 %", "gain"], [_cells(p, weights) for p in points])
    out.note(f"over {found.groups} groups; {found.left_out} with fewer samples are left out")
    if found.most > len(points):
        out.note(f"ends at {len(points)}, which most groups have; the largest has {found.most}")


def _cells(point: dict[str, Any], weights: "Weights") -> list[str]:
    best, gain = point["expected_best"], point["gain"]
    shown = figure(best) if weights.axis else f"{best:.3f}"
    between = f"{point['low']:.3f} to {point['high']:.3f}"
    return [str(point["n"]), shown, between, "" if gain is None else f"{gain:+.3f}"]
