"""The table of `librehps score`: errors, then the items of each prompt, best first."""

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from librehps.files import counted
from librehps_cli.ui.errors import row_error
from librehps_cli.ui.output import Output, axes_in, figures, percent

if TYPE_CHECKING:
    from librehps.decide.probability import Platt

Record = dict[str, Any]
# Rows and errors that a terminal shows without scrolling the best away.
MAX_TABLE_ROWS, MAX_TABLE_ERRORS = 20, 20
EVERY_ROW = "-o scores.parquet, or --json"


def print_ranking(records: list[Record], calibrator: "Platt | None", out: Output) -> None:
    """Print the errors, then the ranking, best first: on a terminal the first MAX_TABLE_ROWS.

    Items are ranked within each prompt, since scores of different prompts cannot be compared.
    """
    failed = [record for record in records if record["status"] == "error"]
    errors = failed if not out.stderr_is_terminal else failed[:MAX_TABLE_ERRORS]
    for record in errors:
        out.error(row_error(record["id"], record["error"], record["error_type"]))
    if len(errors) < len(failed):
        out.error(f"{len(failed) - len(errors)} more items failed; for every error: {EVERY_ROW}")
    scored = [record for record in records if record["status"] == "ok"]
    prompts = {record["prompt"]: at for at, record in reversed([*enumerate(scored)])}
    ranked = sorted(scored, key=lambda record: (prompts[record["prompt"]], -record["overall_mu"]))
    shown = ranked if not out.stdout_is_terminal else ranked[:MAX_TABLE_ROWS]
    if shown:
        _print_table(shown, ranked, len(prompts) > 1, calibrator, out)
    if len(shown) < len(ranked):
        best = f"best {len(shown)} of {len(ranked)}"
        if len(prompts) > 1:
            best = f"{len(shown)} of {len(ranked)} items of {counted(len(prompts), 'prompt')}"
        out.text(f"{best}, {len(ranked) - len(shown)} more; for every row: {EVERY_ROW}")


def _print_table(
    shown: list[Record],
    ranked: list[Record],
    has_prompts: bool,
    calibrator: "Platt | None",
    out: Output,
) -> None:
    """Print the first rows of a ranking, with a calibrator how surely each beats the next."""
    axes = axes_in(shown)
    rows: list[list[str]] = []
    place, last = 0, object()
    for record in shown:
        is_first = record["prompt"] != last
        place, last = 1 if is_first else place + 1, record["prompt"]
        # The prompt stands in the first row of its items.
        prompt = [record["prompt"] if is_first else ""] if has_prompts else []
        rows.append([str(place), *prompt, record["id"], *figures(record, axes)])
    columns = ["", *(["prompt"] if has_prompts else []), "item", *axes]
    if calibrator is not None:
        columns.append("beats\nnext")
        for row, wins in zip(rows, _wins(ranked, calibrator), strict=False):
            row.append(wins)
    out.table(columns, rows)


def _wins(ranked: Sequence[Record], calibrator: "Platt") -> list[str]:
    """Return the probability that each item beats the next of its prompt; "" for the last."""
    wins = []
    for better, worse in pairwise(ranked):
        gap = better["overall_mu"] - worse["overall_mu"]
        is_pair = better["prompt"] == worse["prompt"]
        wins.append(percent(calibrator.probability(gap)) if is_pair else "")
    return [*wins, ""]
