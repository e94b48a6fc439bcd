"""librehps compare: which of two, of several, or of each row's two a person would prefer."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from librehps.rowfiles import KNOWN
from librehps.types import score_columns
from librehps_cli.ui.compare_pairs import compare_pairs
from librehps_cli.ui.errors import exit_code
from librehps_cli.ui.load import load_scorer, prompt_finder
from librehps_cli.ui.options import (
    Json,
    ModelOptions,
    PairsOptions,
    PromptOptions,
    Quiet,
    grouped,
)
from librehps_cli.ui.output import Output, axes_in, figures, percent, signed
from librehps_cli.ui.result_options import OutputOptions

if TYPE_CHECKING:
    from librehps import Item, LibreHPS, ScoredRow
    from librehps.decide.probability import Platt, Verdict

Record = dict[str, Any]
UNCALIBRATED = "no calibration beside the model: probabilities are rough ones, by the sigmas"


@dataclass(frozen=True)
class VerdictOptions:
    """How two scores become a verdict, and what is said of it."""

    symmetric: Annotated[
        bool,
        typer.Option(
            "--symmetric/--plain",
            help="Average over both orders, or the calibrator's plain formula, whose offset "
            "favours one side.",
        ),
    ] = True
    explain: Annotated[bool, typer.Option("--explain", help="Show what each axis says of it.")] = (
        False
    )


@grouped
def compare(
    paths: Annotated[
        list[Path],
        typer.Argument(
            help="Two or more images, or videos; or a file of pairs: prompt, media_a, media_b "
            f"({KNOWN}).",
            show_default=False,
        ),
    ],
    verdict: VerdictOptions,
    prompts: PromptOptions,
    pairs: PairsOptions,
    models: ModelOptions,
    result: OutputOptions,
    json: Json = None,
    quiet: Quiet = False,
) -> None:
    """Compare images or videos of one prompt: two, several, or a file of pairs."""
    from librehps.errors import UsageError

    out = Output(quiet, json)
    if len(paths) == 1:
        raise typer.Exit(compare_pairs(paths[0], verdict, prompts, pairs, models, result, out))
    if result.output is not None:
        raise UsageError("-o is for a file of pairs", hint="Redirect stdout, with --json.")
    items = _items(paths, prompts)
    scorer = load_scorer(models, prompts, out)
    calibrator = scorer.calibrator(models.calibration)
    rows = list(scorer.score_items(items))
    tell = _tell_two if len(rows) == 2 else _tell_many
    raise typer.Exit(tell(rows, scorer, calibrator, verdict, out))


def _items(paths: list[Path], prompts: PromptOptions) -> "list[Item]":
    """One item a path; raises UsageError unless they are of one kind and one prompt."""
    from dataclasses import replace

    from librehps.errors import UsageError
    from librehps.items.files import file_item
    from librehps.media.media import Media

    found = [file_item(path) for path in paths]
    finder = prompt_finder(prompts, has_prompts=False)
    for path, item in zip(paths, found, strict=True):
        if item.kind != found[0].kind:
            kinds = f"{paths[0]} is {found[0].kind} and {path} is {item.kind}"
            raise UsageError(f"{kinds}: give those of one kind")
    items = [finder(item, Media(item.media)) for item in found]
    for item in items:
        if item.prompt != items[0].prompt:
            raise UsageError(
                f"the prompts differ: {items[0].prompt!r} and {item.prompt!r}",
                hint="A verdict is on one prompt: give it by --prompt.",
            )
    # The same file twice is two items.
    return [replace(item, id=f"{at}") for at, item in enumerate(items)]


def _tell_two(
    rows: "list[ScoredRow]",
    scorer: "LibreHPS",
    calibrator: "Platt | None",
    options: VerdictOptions,
    out: Output,
) -> int:
    from librehps.decide.compare import gaps
    from librehps.decide.probability import judge

    for row in rows:
        if row.error is not None:
            raise row.error
    one, two = (row.score for row in rows if row.score is not None)
    names = [str(row.item.media) for row in rows]
    verdict = judge(one.overall, two.overall, calibrator, symmetric=options.symmetric)
    scores = [score_columns(score, scorer.axes) for score in (one, two)]
    if out.json:
        pair = {"a": names[0], "b": names[1], "prompt": rows[0].item.prompt, **verdict.record()}
        facts = {"calibrated": calibrator is not None, "scores_a": scores[0], "scores_b": scores[1]}
        explained = {"gaps": gaps(one, two)} if options.explain else {}
        out.records([{**pair, **facts, **explained, "settings": scorer.settings.digest}])
        return 0
    out.text(_sentence(names, verdict), style="bold")
    axes = axes_in(scores)
    cells = zip("ab", names, scores, strict=True)
    out.table(["", "item", *axes], [[side, n, *figures(r, axes)] for side, n, r in cells])
    if options.explain:
        _explain(scores, gaps(one, two), out)
    if calibrator is None:
        out.note(UNCALIBRATED)
    return 0


def _explain(scores: Sequence[Record], gaps: Record, out: Output) -> None:
    """The gap of each axis in mu, and whom it favours; `overall` is what decides."""
    rows = []
    for axis, gap in gaps.items():
        side = "a" if gap > 0 else "b" if gap < 0 else "neither"
        mus = [signed(score[f"{axis}_mu"]) for score in scores]
        rows.append([axis, *mus, signed(gap), side])
    out.table(["axis", "mu of a", "mu of b", "gap", "favours"], rows)
    out.note("overall decides, by its gap; the other axes have heads of their own and no vote")


def _tell_many(
    rows: "list[ScoredRow]",
    scorer: "LibreHPS",
    calibrator: "Platt | None",
    options: VerdictOptions,
    out: Output,
) -> int:
    """A ranking, in which each has its chance against the next and against any other."""
    from librehps.decide.compare import ranking

    for row in rows:
        if row.error is not None:
            out.error(f"{row.item.media}: {row.error} ({type(row.error).__name__})")
    records = []
    for at, place in enumerate(ranking(rows, calibrator, options.symmetric), 1):
        record = {
            "rank": at,
            "item": str(place.row.item.media),
            "prompt": place.row.item.prompt,
            **score_columns(place.score, scorer.axes),
            "win_probability": place.verdict and place.verdict.probability,
            "win_probability_field": place.field,
            "confident": place.verdict and place.verdict.confident,
            "calibrated": calibrator is not None,
            "settings": scorer.settings.digest,
        }
        records.append({**record, "gaps": place.gaps} if options.explain else record)
    _print_ranking(records, options.explain, out)
    if calibrator is None and not out.json:
        out.note(UNCALIBRATED)
    return exit_code(len(records), len(rows) - len(records))


def _print_ranking(records: list[Record], explain: bool, out: Output) -> None:
    if out.json:
        out.records(records)
        return
    axes = axes_in(records)
    chances = ("win_probability", "win_probability_field")
    out.table(
        ["", "item", *axes, "next", "field"],
        [
            [
                str(record["rank"]),
                record["item"],
                *figures(record, axes),
                *("-" if record[name] is None else percent(record[name]) for name in chances),
            ]
            for record in records
        ],
    )
    if explain:
        gaps = [[r["item"], *(signed(r["gaps"][axis]) for axis in axes)] for r in records[:-1]]
        out.table(["item", *axes], gaps)
        out.note("gaps in mu over the next; overall decides")
    out.note("next, field: how often it beats the next, and another one drawn at random")


def _sentence(names: Sequence[str], verdict: "Verdict") -> str:
    if verdict.winner == "tie":
        return "a tie"
    winner, loser = names if verdict.winner == "a" else reversed(names)
    sure = "" if verdict.confident else ", not confident"
    likelier = percent(verdict.win_probability)
    return f"{verdict.winner} wins: {winner} over {loser}, {likelier}{sure}"
