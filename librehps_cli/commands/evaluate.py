"""librehps evaluate: agreement of scores with people's preferences."""

import json as jsonlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from librehps.choices import Split
from librehps_cli.ui.errors import OK, SOME_ERRORS
from librehps_cli.ui.evaluation_tables import print_markdown, print_tables, tables_of
from librehps_cli.ui.help import INPUT, OUTPUT, examples
from librehps_cli.ui.options import Json, Markdown, Overwrite, Quiet, grouped
from librehps_cli.ui.output import Output
from librehps_cli.ui.pair_options import PairsFile, PreferenceOptions, SaveScores, Scores
from librehps_cli.ui.preferences import judge_pairs
from librehps_cli.ui.scoring_options import ScoringOptions

if TYPE_CHECKING:
    from librehps.evaluate.evaluation import Evaluation
    from librehps.evaluate.judged import Judged
    from librehps.preferences.pairs import Preferences


@examples(
    "librehps evaluate outputs/pairs.jsonl -m tiny",
    "librehps evaluate outputs/pairs.jsonl -m tiny --by source --plot plot.svg",
)
@grouped
def evaluate(
    pairs: PairsFile,
    preferences: PreferenceOptions,
    models: ScoringOptions,
    scores: Scores = None,
    by: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN",
            help="Add a table by this column of the file of pairs. Repeatable.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    split: Annotated[
        Split,
        typer.Option(
            metavar="SPLIT",
            help="Pairs to measure on: all, held-out (without the tenth that calibration is fitted "
            "on), auto (held-out if there is a calibration: of --calibration, else of the model).",
            rich_help_panel=INPUT,
        ),
    ] = "auto",
    plot: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="Write a reliability diagram: a .png or .svg file. Repeatable.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    save_scores: SaveScores = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Write the tables to a .csv, .tsv, .parquet or .jsonl file; the column table says "
            "from which table a row is.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    overwrite: Overwrite = False,
    markdown: Markdown = False,
    json: Json = None,
    quiet: Quiet = False,
) -> None:
    """Measure how well scores agree with people's preferences: accuracy and calibration.

    Each media file is scored once per prompt. `python examples/tiny/outputs.py outputs` makes the
    files of the examples.
    """
    from librehps.evaluate.evaluation import check_columns
    from librehps.evaluate.evaluation import evaluate as run
    from librehps.evaluate.reliability import check_plot, plot_reliability
    from librehps.extras import require
    from librehps.scores.writer import check_output, check_table_output

    require("evaluate", "librehps evaluate")
    out = Output(quiet, json)
    for file in plot or ():
        check_plot(file)
    if save_scores is not None:
        check_output(save_scores, overwrite)
    if output is not None:
        check_table_output(output, overwrite)

    def check(read: "Preferences") -> None:
        check_columns(read.columns, by or ())

    judged = judge_pairs(pairs, preferences, models, scores, save_scores, check, out)
    evaluation = run(judged.chosen(split), judged.calibrators, by or ())
    for file in plot or ():
        title = f"{judged.model or judged.preferences.name} on {judged.preferences.name}"
        plot_reliability(evaluation.reliability, file, title, judged.calibrators is not None)
    if output is not None:
        from librehps.scores.table import write_records

        write_records(evaluation.records(), output)
    if markdown:
        print_markdown(tables_of(evaluation, judged.reason(split)), out)
    elif out.json:
        out.note(judged.reason(split))
        out.line(jsonlib.dumps(_record(evaluation, judged, split), ensure_ascii=False))
    else:
        print_tables(tables_of(evaluation, judged.reason(split)), out)
    raise typer.Exit(SOME_ERRORS if judged.failed else OK)


def _record(evaluation: "Evaluation", judged: "Judged", split: Split) -> dict[str, Any]:
    return {
        "model": judged.model,
        "fingerprint": judged.fingerprint,
        "settings": judged.settings,
        "calibrated": judged.calibrators is not None,
        "split": "held-out" if judged.is_held_out(split) else "all",
        "split_reason": judged.reason(split),
        "pairs": len(judged.pairs),
        "pairs_reported": len(judged.chosen(split)),
        "pairs_digest": judged.chosen(split).digest(),
        "media_errors": len(judged.failed),
        "left_out": dict(judged.left_out),
        "benchmarks": evaluation.benchmarks,
        "aggregate": evaluation.aggregate,
        "axes": evaluation.axes,
        "by": evaluation.by,
        "reliability": evaluation.reliability,
    }
