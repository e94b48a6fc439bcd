"""librehps score: every item's scores, as a table, JSON Lines or Parquet."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from librehps.types import AXES
from librehps_cli.errors import exit_code
from librehps_cli.options import Json, ModelOptions, PromptOptions, Quiet, grouped
from librehps_cli.output import Output, figures, percent
from librehps_cli.scoring import list_items, load_scorer, to_records

if TYPE_CHECKING:
    from librehps.decide.probability import Platt

Record = dict[str, Any]


@grouped
def score(
    paths: Annotated[list[Path], typer.Argument(help="Images, videos, and folders of them.")],
    prompts: PromptOptions,
    models: ModelOptions,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="X.parquet, X.jsonl, or - for stdout."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the output.")] = False,
    json: Json = None,
    quiet: Quiet = False,
) -> None:
    """Score images and videos against their prompts."""
    from librehps.sink.open import check_output, open_sink

    file = None if output is None or str(output) == "-" else output
    out = Output(quiet, True if output is not None and file is None else json)
    if file is not None:
        check_output(file, overwrite)
    items = list_items(paths, prompts, out)
    scorer = load_scorer(models, prompts, out)
    is_table = file is None and not out.json
    asked = models.calibration is not None
    calibrator = scorer.calibrator(models.calibration) if is_table or asked else None
    tally = Tally()
    records = tally.count(out.progress(to_records(scorer, items), len(items)))
    if file is not None:
        with open_sink(file, scorer.settings) as sink:
            for record in records:
                sink.write(record)
    elif out.json:
        out.records(records)
    else:
        _print_ranking(list(records), calibrator, out)
    out.note(f"{tally.ok} scored, {tally.failed} errors")
    raise typer.Exit(exit_code(tally.ok, tally.failed))


class Tally:
    """Counts records as they pass."""

    def __init__(self) -> None:
        self.ok = self.failed = 0

    def count(self, records: Iterable[Record]) -> Iterator[Record]:
        for record in records:
            self.ok += record["status"] == "ok"
            self.failed += record["status"] == "error"
            yield record


def _print_ranking(records: list[Record], calibrator: "Platt | None", out: Output) -> None:
    """Best first; under one prompt and with a calibrator, how surely each beats the next."""
    scored = [record for record in records if record["status"] == "ok"]
    ranked = sorted(scored, key=lambda record: -record["overall_mu"])
    one_prompt = len({record["prompt"] for record in ranked}) == 1
    columns = ["", "item", *AXES]
    rows = [[str(at), r["id"], *figures(r)] for at, r in enumerate(ranked, 1)]
    if calibrator is not None and one_prompt:
        columns.append("beats next")
        for row, better, worse in zip(rows, ranked, ranked[1:], strict=False):
            gap = better["overall_mu"] - worse["overall_mu"]
            row.append(percent(calibrator.probability(gap)))
    if ranked:
        out.table(columns, rows)
    for record in records:
        if record["status"] == "error":
            out.error(f"{record['id']}: {record['error']} ({record['error_type']})")
