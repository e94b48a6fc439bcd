"""Tables of an evaluation, for a terminal or as Markdown."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from librehps_cli.ui.output import Output, safe

if TYPE_CHECKING:
    from librehps.evaluate.evaluation import Evaluation

Record = dict[str, Any]
# The columns of the published model card.
CARD = ("benchmark", "n", "pair_acc", "pair_acc_ci", "ece", "ece_calibrated", "brier",
        "brier_calibrated")  # fmt: skip
DECISIONS = ("benchmark", "ties", "pair_acc_with_ties", "nll", "nll_calibrated",
             "confident_share", "confident_acc", "sigma_auroc", "spearman")  # fmt: skip
AXIS = ("axis", "n", "ties", "pair_acc", "pair_acc_ci")
HEADINGS = {
    "pair_acc_ci": "95 %",
    "ece_calibrated": "ece\ncal.",
    "brier_calibrated": "brier\ncal.",
    "nll_calibrated": "nll\ncal.",
    "pair_acc_with_ties": "acc with\nties",
    "confident_share": "confident",
    "confident_acc": "acc of\nthese",
    "sigma_auroc": "sigma\nauroc",
}


@dataclass(frozen=True)
class Figures:
    """A table of an evaluation, with a title that says what each row is."""

    title: str
    columns: tuple[str, ...]
    rows: list[Record]


def tables_of(evaluation: "Evaluation", pairs: str) -> list[Figures]:
    """Return the tables by benchmark, of decisions, by axis, and by each column of --by.

    `pairs` says which pairs they are of.
    """
    benchmarks = [*evaluation.benchmarks]
    if len(benchmarks) > 1:
        benchmarks.append(evaluation.aggregate)
    tables = [
        Figures(f"overall, by benchmark; {pairs}", CARD, benchmarks),
        Figures("decisions", DECISIONS, benchmarks),
        Figures("by axis", AXIS, evaluation.axes),
    ]
    for name, rows in evaluation.by.items():
        tables.append(Figures(f"by {name}", (name, *AXIS), rows))
    return tables


def print_tables(tables: Iterable[Figures], out: Output) -> None:
    """Print each table on stdout, below its title."""
    for figures in tables:
        out.text(figures.title, style="bold")
        if figures.columns:
            out.table(_headings(figures), _cells(figures), names=figures.columns[:1])


def to_markdown(tables: Iterable[Figures]) -> str:
    """Return the tables as Markdown, each below its title."""
    parts = []
    for figures in tables:
        head = _line([name.replace("\n", " ") for name in _headings(figures)])
        rule = _line(["---"] * len(figures.columns))
        body = [_line([_escaped(cell) for cell in row]) for row in _cells(figures)]
        parts.append("\n".join([f"**{figures.title}**", "", head, rule, *body]))
    return "\n\n".join(parts)


def _headings(figures: Figures) -> list[str]:
    return [HEADINGS.get(name, name) for name in figures.columns]


def _cells(figures: Figures) -> list[list[str]]:
    return [[_cell(row.get(name)) for name in figures.columns] for row in figures.rows]


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, list):
        return " - ".join(f"{end:.3f}" for end in value)
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _escaped(text: str) -> str:
    """Return a user's text with the characters escaped that have a meaning in Markdown tables."""
    text = re.sub(r"[\\|`*\[\]]", r"\\\g<0>", text.replace("&", "&amp;").replace("<", "&lt;"))
    return safe(text.replace("\n", " "))


def print_markdown(tables: Iterable[Figures], out: Output) -> None:
    """Print the tables on stdout as Markdown."""
    for line in to_markdown(tables).split("\n"):
        out.line(line)
