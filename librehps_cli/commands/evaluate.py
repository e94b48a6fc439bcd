"""librehps evaluate: how well scores agree with people's preferences."""

import json as jsonlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from librehps.choices import Split
from librehps_cli.ui.errors import OK, SOME_ERRORS
from librehps_cli.ui.evaluation_tables import print_tables, tables_of, to_markdown
from librehps_cli.ui.options import (
    Json,
    ModelOptions,
    PairsFile,
    PreferenceOptions,
    Quiet,
    Scores,
    grouped,
)
from librehps_cli.ui.output import Output
from librehps_cli.ui.preferences import judge_pairs

if TYPE_CHECKING:
    from librehps.evaluate.evaluation import Evaluation
    from librehps.evaluate.judged import Judged


@grouped
def evaluate(
    pairs: PairsFile,
    preferences: PreferenceOptions,
    models: ModelOptions,
    scores: Scores = None,
    by: Annotated[
        list[str] | None,
        typer.Option(help="Also by this column of the file: source, severity, ..."),
    ] = None,
    split: Annotated[
        Split,
        typer.Option(
            help="held-out leaves out the tenth that calibration fits on (auto: where calibrated)."
        ),
    ] = "auto",
    plot: Annotated[
        list[Path] | None, typer.Option(help="Reliability diagram: X.png, X.svg.")
    ] = None,
    save_scores: Annotated[
        Path | None, typer.Option(help="Keep the scores: X.parquet, X.jsonl, for --scores.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace saved scores.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown.")] = False,
    json: Json = None,
    quiet: Quiet = False,
) -> None:
    """Measure accuracy and calibration on preferences; each media file is scored once."""
    from librehps.evaluate.evaluation import evaluate as run
    from librehps.evaluate.reliability import check_plot, plot_reliability
    from librehps.extras import require
    from librehps.scores.writer import check_output

    require("evaluate", "librehps evaluate")
    out = Output(quiet, json)
    for file in plot or ():
        check_plot(file)
    if save_scores is not None:
        check_output(save_scores, overwrite)
    judged = judge_pairs(pairs, preferences, models, scores, save_scores, out)
    evaluation = run(judged.chosen(split), judged.calibrators, by or ())
    for file in plot or ():
        title = f"{judged.model or pairs.name} on {pairs.name}"
        plot_reliability(evaluation.reliability, file, title, judged.calibrators is not None)
    if markdown:
        for line in to_markdown(tables_of(evaluation)).split("\n"):
            out.line(line)
    elif out.json:
        out.line(
            jsonlib.dumps(
                _record(evaluation, judged, judged.is_held_out(split)), ensure_ascii=False
            )
        )
    else:
        print_tables(tables_of(evaluation), out)
    raise typer.Exit(SOME_ERRORS if judged.failed else OK)


def _record(evaluation: "Evaluation", judged: "Judged", held_out: bool) -> dict[str, Any]:
    return {
        "model": judged.model,
        "fingerprint": judged.fingerprint,
        "settings": judged.settings,
        "calibrated": judged.calibrators is not None,
        "split": "held-out" if held_out else "all",
        "media_errors": len(judged.failed),
        "left_out": dict(judged.left_out),
        "benchmarks": evaluation.benchmarks,
        "aggregate": evaluation.aggregate,
        "axes": evaluation.axes,
        "by": evaluation.by,
        "reliability": evaluation.reliability,
    }
