"""librehps best-of-n: the best item of each prompt."""

import json as jsonlib
from typing import TYPE_CHECKING, Annotated

import typer

from librehps_cli.errors import exit_code
from librehps_cli.options import ModelOptions, Paths, PromptOptions, Quiet, SourceFlags, grouped
from librehps_cli.output import Output, percent
from librehps_cli.scoring import score_all

if TYPE_CHECKING:
    from librehps.decide.best_of_n import Pick


@grouped
def best_of_n(
    paths: Paths,
    sources: SourceFlags,
    prompts: PromptOptions,
    models: ModelOptions,
    json: Annotated[bool, typer.Option("--json", help="JSON Lines with the margin.")] = False,
    quiet: Quiet = False,
) -> None:
    """Print the path of the best item of each prompt, or of each folder."""
    from librehps.decide.best_of_n import pick_best

    out = Output(quiet, json)
    scorer, records = score_all(paths, sources, prompts, models, out)
    calibrator = scorer.calibrator(models.calibration)
    failed = [record for record in records if record["status"] == "error"]
    for record in failed:
        out.error(f"{record['id']}: {record['error']} ({record['error_type']})")
    for pick in pick_best(records, calibrator):
        if json:
            out.line(jsonlib.dumps(_record(pick), ensure_ascii=False))
        else:
            out.line(pick.winner["media"])
            out.note(_sentence(pick))
    raise typer.Exit(exit_code(len(records) - len(failed), len(failed)))


def _record(pick: "Pick") -> dict[str, object]:
    return {
        "group": pick.group,
        "winner": pick.winner["media"],
        "id": pick.winner["id"],
        "prompt": pick.winner["prompt"],
        "overall": pick.winner["overall"],
        "overall_mu": pick.winner["overall_mu"],
        "scored": pick.scored,
        "margin": pick.margin,
        "win_probability": pick.win_probability,
        "ties": [record["media"] for record in pick.ties],
        "settings": pick.winner["settings"],
    }


def _sentence(pick: "Pick") -> str:
    text = f"best of {pick.scored}: {pick.winner['id']}, overall {pick.winner['overall']:.3f}"
    if pick.win_probability is not None:
        text += f"; beats the runner-up in {percent(pick.win_probability)}"
    if pick.ties:
        text += f"; tied with {', '.join(record['id'] for record in pick.ties)}"
    return text
