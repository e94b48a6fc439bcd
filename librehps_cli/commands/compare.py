"""librehps compare: which image or video a person would prefer."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from librehps.rowfiles import KNOWN
from librehps_cli.ui.compare_pairs import compare_pairs
from librehps_cli.ui.errors import exit_code, row_error
from librehps_cli.ui.help import OUTPUT, examples
from librehps_cli.ui.load import load_scorer, prompt_keywords
from librehps_cli.ui.options import Json, PromptOptions, Quiet, grouped
from librehps_cli.ui.output import Output, axes_in, figures, percent, signed
from librehps_cli.ui.pair_options import PairsOptions, VerdictOptions
from librehps_cli.ui.result_options import OutputOptions
from librehps_cli.ui.scoring_options import ScoringOptions

if TYPE_CHECKING:
    from librehps.decide.compare import Comparison
    from librehps.decide.probability import Verdict

Record = dict[str, Any]
UNCALIBRATED = "calibration not found: win probabilities are rough, computed from the sigmas"


@examples(
    "librehps compare examples/media/match.png examples/media/torn.png -m tiny"
    " --prompt-from sidecar",
    'librehps compare examples/media/*.png -m tiny -p "a red circle" --json',
)
@grouped
def compare(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH...",
            help="Two or more images or videos of one prompt; or a file of pairs with the columns "
            f"prompt, media_a, media_b ({KNOWN}).",
            show_default=False,
        ),
    ],
    verdict: VerdictOptions,
    prompts: PromptOptions,
    pairs: PairsOptions,
    models: ScoringOptions,
    result: OutputOptions,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Continue an unfinished comparison of a file of pairs.",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
    json: Json = None,
    quiet: Quiet = False,
) -> None:
    """Compare two or more images or videos of one prompt, or each row of a file of pairs."""
    from librehps.errors import UsageError
    from librehps.runs.compare import compare as decide

    out = Output(quiet, True if result.to_stdout else json)
    if len(paths) == 1:
        options = (verdict, prompts, pairs, models, result, resume)
        raise typer.Exit(compare_pairs(paths[0], *options, out))
    if resume:
        raise UsageError(
            "--resume: expected a file of pairs, got several media", hint="Leave out --resume."
        )
    result.check()
    found = decide(
        paths,
        **prompt_keywords(prompts),
        model=lambda: load_scorer(models, prompts, out),
        calibrator=models.calibration,
        symmetric=verdict.symmetric,
    )
    if result.file is not None:
        from librehps.scores.table import write_records

        write_records(found.records(verdict.explain), result.file)
    show = _print_many if found.verdict is None else _print_two
    raise typer.Exit(show(found, verdict.explain, out))


def _print_two(found: "Comparison", explain: bool, out: Output) -> int:
    [record] = found.records(explain)
    if out.json or found.verdict is None:
        out.records([record])
        return 0
    names, scores = [record["a"], record["b"]], [record["scores_a"], record["scores_b"]]
    out.text(_sentence(names, found.verdict), style="bold")
    axes = axes_in(scores)
    cells = zip("ab", names, scores, strict=True)
    out.table(["", "item", *axes], [[side, n, *figures(r, axes)] for side, n, r in cells])
    if explain:
        _explain(scores, record["gaps"], out)
    if not found.is_calibrated:
        out.note(UNCALIBRATED)
    return 0


def _print_many(found: "Comparison", explain: bool, out: Output) -> int:
    """Print a ranking with the win probability of each item over the next and over all others."""
    for row in found.rows:
        if row.error is not None:
            out.error(row_error(row.item.media, str(row.error), type(row.error).__name__))
    records = found.records(explain)
    _print_ranking(records, explain, out)
    if not found.is_calibrated and not out.json:
        out.note(UNCALIBRATED)
    return exit_code(len(records), len(found.rows) - len(records))


def _explain(scores: Sequence[Record], gaps: Record, out: Output) -> None:
    """Print the difference on each axis in mu, and the side that it favours."""
    rows = []
    for axis, gap in gaps.items():
        side = "a" if gap > 0 else "b" if gap < 0 else "neither"
        mus = [signed(score[f"{axis}_mu"]) for score in scores]
        rows.append([axis, *mus, signed(gap), side])
    out.table(["axis", "mu of a", "mu of b", "gap", "favours"], rows)
    out.note("only overall decides; the other axes are scored separately")


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
        out.note("gap: mu of the item minus mu of the next; only overall decides")
    out.note("next, field: probability to beat the next item, and any other item")


def _sentence(names: Sequence[str], verdict: "Verdict") -> str:
    if verdict.winner == "tie":
        return "a tie"
    winner, loser = names if verdict.winner == "a" else reversed(names)
    sure = "" if verdict.confident else ", not confident"
    likelier = percent(verdict.win_probability)
    return f"{verdict.winner} wins: {winner} over {loser}, {likelier}{sure}"
