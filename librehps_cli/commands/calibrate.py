"""librehps calibrate: win probabilities fitted to people's preferences."""

import json as jsonlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from librehps.choices import CalibrationMethod
from librehps_cli.ui.errors import OK, SOME_ERRORS
from librehps_cli.ui.evaluation_tables import Figures, print_tables
from librehps_cli.ui.help import OUTPUT, examples
from librehps_cli.ui.options import Json, Overwrite, Quiet, grouped
from librehps_cli.ui.output import Output
from librehps_cli.ui.pair_options import PairsFile, PreferenceOptions, SaveScores, Scores
from librehps_cli.ui.preferences import judge_pairs, keeping_scores, scores_beside
from librehps_cli.ui.scoring_options import ScoringOptions

if TYPE_CHECKING:
    from librehps.evaluate.judged import Judged

COLUMNS = ("benchmark", "n", "ece", "ece_calibrated", "brier", "brier_calibrated", "nll",
           "nll_calibrated")  # fmt: skip


@examples(
    "librehps calibrate votes.csv -o ours.json",
    "librehps calibrate outputs/pairs.jsonl -m tiny -o few.json --accept-worse",
)
@grouped
def calibrate(
    pairs: PairsFile,
    preferences: PreferenceOptions,
    models: ScoringOptions,
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="The calibration.json to write.",
            rich_help_panel=OUTPUT,
        ),
    ],
    method: Annotated[
        CalibrationMethod,
        typer.Option(
            metavar="NAME",
            help="platt: fit slope and offset; temperature: fit the slope only.",
            rich_help_panel="Fit",
        ),
    ] = "platt",
    accept_worse: Annotated[
        bool,
        typer.Option(
            "--accept-worse",
            help="Write the file also if the fit is worse on the held-out pairs (by NLL).",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
    scores: Scores = None,
    save_scores: SaveScores = None,
    overwrite: Overwrite = False,
    json: Json = None,
    quiet: Quiet = False,
) -> None:
    """Fit calibration.json on a tenth of the pairs, and measure it on the rest.

    A fit that is worse on the rest than the sigmas, or than the current calibration, is not
    written; its scores are then kept next to it, for --scores.

    `python examples/tiny/outputs.py outputs` makes the files of the examples.
    """
    from librehps.evaluate.calibration import check_enough
    from librehps.extras import require
    from librehps.files import check_file, check_free
    from librehps.scores.writer import check_output

    require("evaluate", "librehps calibrate")
    out = Output(quiet, json)
    check_file(output)
    check_free(output, overwrite)
    kept = save_scores
    if kept is not None:
        check_output(kept, overwrite)
    elif not scores:
        kept = scores_beside(output)
    judged = judge_pairs(pairs, preferences, models, scores, kept, check_enough, out)
    with keeping_scores(kept, save_scores is not None, out):
        _fit(judged, method, output, accept_worse, out)
    raise typer.Exit(SOME_ERRORS if judged.failed else OK)


def _fit(
    judged: "Judged", method: CalibrationMethod, output: Path, accept_worse: bool, out: Output
) -> None:
    """Fit, print the figures and write the fit; raises CalibrationError where it is refused."""
    from librehps.evaluate.calibration import MIN_FIT_PAIRS
    from librehps.evaluate.calibration import calibrate as fit
    from librehps.evaluate.change import change_on
    from librehps.evaluate.evaluation import evaluate

    fitted = fit(judged.pairs, method, judged.model, judged.fingerprint)
    pairs_left = judged.chosen("held-out")
    change = change_on(pairs_left, fitted.calibrators, judged.calibrators)
    held_out = evaluate(pairs_left, fitted.calibrators)
    rows = [*held_out.benchmarks, held_out.aggregate]
    out.note(f"fitted on {fitted.content['pairs']} pairs; the figures are of the other pairs")
    for name, count in fitted.unfitted.items():
        out.note(f"{name}: no fit of its own, too few pairs ({count}; expected {MIN_FIT_PAIRS})")
    if out.json:
        for row in rows:
            out.line(jsonlib.dumps(_only(row), ensure_ascii=False))
    else:
        print_tables([Figures(f"before and after ({method})", COLUMNS, rows)], out)
    if not accept_worse:
        change.check(output)
    fitted.write(output)
    out.note(f"{output} written; {change.sentence()}")


def _only(row: dict[str, Any]) -> dict[str, Any]:
    return {name: row.get(name) for name in COLUMNS}
