"""librehps compare: which of two a person would prefer."""

import json as jsonlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from librehps.types import AXES
from librehps_cli.options import Json, ModelOptions, PromptOptions, Quiet, grouped
from librehps_cli.output import Output, figures, percent
from librehps_cli.scoring import load_scorer, prompt_finder

if TYPE_CHECKING:
    from librehps import ImageScore, Item, PairComparison


@grouped
def compare(
    a: Annotated[Path, typer.Argument(help="An image or a video.")],
    b: Annotated[Path, typer.Argument(help="Another of the same kind.")],
    prompts: PromptOptions,
    models: ModelOptions,
    json: Json = None,
    quiet: Quiet = False,
) -> None:
    """Compare two images or two videos of one prompt."""
    out = Output(quiet, json)
    first, second = _pair(a, b, prompts)
    scorer = load_scorer(models, prompts, out)
    calibrator = scorer.calibrator(models.calibration)
    decide = scorer.compare_videos if first.kind == "video" else scorer.compare_images
    verdict = decide(first.media, second.media, first.prompt or "", calibrator)
    likelier = max(verdict.probability, 1 - verdict.probability)
    scores = (verdict.score_a, verdict.score_b)
    if out.json:
        record = {
            "a": first.id,
            "b": second.id,
            "prompt": first.prompt,
            "winner": verdict.winner,
            "win_probability": likelier,
            "p_a_wins": verdict.probability,
            "confident": verdict.confident,
            "calibrated": calibrator is not None,
            **{f"scores_{name}": _axes(score) for name, score in zip("ab", scores, strict=True)},
            "settings": scorer.settings.digest,
        }
        out.line(jsonlib.dumps(record, ensure_ascii=False))
        return
    out.text(_sentence(first, second, verdict, likelier), style="bold")
    pairs = zip("ab", (first, second), scores, strict=True)
    rows = [[name, item.id, *figures(_axes(score))] for name, item, score in pairs]
    out.table(["", "item", *AXES], rows)
    if calibrator is None:
        out.note("no calibration beside the model: the probability is a rough one, by the sigmas")


def _pair(a: Path, b: Path, prompts: PromptOptions) -> "tuple[Item, Item]":
    """Both items; raises UsageError unless they are of one kind and one prompt."""
    from librehps.errors import UsageError
    from librehps.media.content import Content
    from librehps.source.files import file_item

    items = [file_item(path) for path in (a, b)]
    finder = prompt_finder(prompts, has_prompts=False)
    if items[0].kind != items[1].kind:
        kinds = f"{a} is {items[0].kind} and {b} is {items[1].kind}"
        raise UsageError(f"{kinds}: give two of one kind")
    first, second = (finder(item, Content(item.media)) for item in items)
    if first.prompt != second.prompt:
        raise UsageError(
            f"the prompts differ: {first.prompt!r} and {second.prompt!r}",
            hint="A verdict is on one prompt: give it by --prompt.",
        )
    return first, second


def _axes(score: "ImageScore") -> dict[str, Any]:
    axes = {name: getattr(score, name, None) for name in AXES}
    means = {name: axis and axis.mean for name, axis in axes.items()}
    return means | {f"{name}_mu": axis and axis.raw_mean for name, axis in axes.items()}


def _sentence(first: "Item", second: "Item", verdict: "PairComparison", likelier: float) -> str:
    if verdict.winner == "tie":
        return "a tie"
    names = (first.id, second.id) if verdict.winner == "a" else (second.id, first.id)
    sure = "" if verdict.confident else ", not confident"
    return f"{verdict.winner} wins: {names[0]} over {names[1]}, {percent(likelier)}{sure}"
