"""Leaderboards as tables for a terminal or Markdown."""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from librehps_cli.ui.evaluation_tables import Figures, Record
from librehps_cli.ui.output import shorten

if TYPE_CHECKING:
    from librehps.decide.standings import Board, Interval, Leaderboard, Need, Standing
    from librehps.decide.weights import Weights

STANDING = ("#", "rank", "generator", "mean", "strength", "95 %", "win rate")
NEED = ("row over column", "win rate", "95 %", "width", "prompts", "or samples a prompt")
# Rows of the table of intervals of win rates.
MAX_NEEDS = 30
# Cells between two columns of a table.
GAP = 2
# A table with a column for each generator is left out if names would be shorter than this.
MIN_NAME_WIDTH = 12


def board_tables(found: "Leaderboard", width: int | None = None) -> list[Figures]:
    """Return standings and wins of the first axis, then means by axis and by category.

    A table that is wider than `width` cells is replaced by its title alone.
    """
    first = found.boards[0]
    whole = [board for board in found.boards if board.category is None]
    tables = [_standings(first, found.weights), _wins(first)]
    if len(whole) > 1:
        tables.append(_by_axis(whole))
    parts = [board for board in found.boards if board.category is not None]
    for axis in [first.axis] if parts else []:
        tables.append(_by_category([b for b in parts if b.axis == axis], first))
    return [_fitted(table, width) for table in tables] if width is not None else tables


def need_tables(found: "Leaderboard") -> list[Figures]:
    """Return the intervals of the first axis' win rates, and what narrows them; none if not asked.

    The rows are those of the widest intervals, if there are many.
    """
    first = found.boards[0]
    widest = sorted(first.needs, key=lambda need: need.rate.low - need.rate.high)[:MAX_NEEDS]
    rows = [_need_row(need, found) for need in first.needs if need in widest]
    title = "95 % intervals of win rates"
    columns: tuple[str, ...] = NEED[:4]
    if found.target_width is not None:
        title += f", and what more narrows them to {found.target_width:g}"
        columns = NEED
    left = len(first.needs) - len(rows)
    if left:
        title += f" (the widest; {left} more with --json)"
    return [Figures(title, columns, rows)] if rows else []


def _need_row(need: "Need", found: "Leaderboard") -> Record:
    def more(count: int | None, unknown: str) -> str:
        return unknown if count is None else str(count)

    no_samples = "unknown" if need.between is None else "not enough"
    return {
        "row over column": f"{need.a + 1} over {need.b + 1}",
        "win rate": f"{need.rate.value:.1%}",
        "95 %": f"{need.rate.low:.1%} to {need.rate.high:.1%}",
        "width": f"{need.rate.high - need.rate.low:.3f}",
        "prompts": more(need.more_prompts, "too many"),
        "or samples a prompt": more(need.more_samples, no_samples),
    }


def validity(found: "Leaderboard") -> str:
    """Return when the intervals of a leaderboard hold, as text."""
    board = found.boards[0]
    if not found.sequential:
        return (
            "the intervals hold for one look at a number of prompts fixed beforehand; if you add "
            "prompts until they separate, use --sequential"
        )
    text = (
        "the intervals of win rates hold whenever you stop adding prompts (not samples); those of "
        "means and strengths, and p, hold for one look"
    )
    if any(need.between is None and need.more_samples != 0 for need in board.needs):
        text += "; what more samples bring is unknown with one sample a prompt"
    return text


def _standings(board: "Board", weights: "Weights | None") -> Figures:
    summed = f" ({weights.text})" if weights else ""
    title = f"{board.axis}{summed}, {board.prompts} prompts; strength in log-odds"
    rows = [
        {
            "#": str(i),
            "rank": str(s.rank),
            "generator": s.generator,
            "mean": _spread(s.mean),
            "strength": f"{s.strength.value:+.2f}",
            "95 %": _ends(s.strength),
            "win rate": f"{s.win_rate:.1%}",
        }
        for i, s in enumerate(board.standings, 1)
    ]
    return Figures(title, STANDING, rows)


def _wins(board: "Board") -> Figures:
    """Return the share of prompts on which the row's generator beats the column's."""
    rows = _numbered(board.standings)
    heads = tuple(row["#"] for row in rows)
    for i, row in enumerate(rows):
        row |= {
            head: "-" if i == j else f"{100 * board.wins[i][j]:.0f}" for j, head in enumerate(heads)
        }
    return Figures("wins of the row over the column, %", ("#", "generator", *heads), rows)


def _by_axis(boards: Sequence["Board"]) -> Figures:
    rows = _numbered(boards[0].standings)
    for board in boards:
        means = {s.generator: s.mean.value for s in board.standings}
        for row in rows:
            row[board.axis] = means[row["generator"]]
    return Figures("means", ("#", "generator", *(board.axis for board in boards)), rows)


def _by_category(boards: Sequence["Board"], first: "Board") -> Figures:
    """Return a row for each category; generators are numbered as in `first`."""
    names = [s.generator for s in first.standings]
    heads = tuple(str(i) for i in range(1, len(names) + 1))
    rows: list[Record] = []
    for board in boards:
        means = {s.generator: s.mean.value for s in board.standings}
        row = {"category": board.category, "prompts": str(board.prompts)}
        rows.append(row | {head: means[name] for head, name in zip(heads, names, strict=True)})
    return Figures(f"means of {first.axis} by category", ("category", "prompts", *heads), rows)


def _numbered(standings: Sequence["Standing"]) -> list[Record]:
    return [{"#": str(i), "generator": s.generator} for i, s in enumerate(standings, 1)]


def _fitted(table: Figures, width: int) -> Figures:
    """Return the table, or its title alone if the table is too wide even with short names."""
    name = "category" if "category" in table.columns else "generator"
    figures = [column for column in table.columns if column != name]
    widths = [max(map(len, (c, *(_cell(row[c]) for row in table.rows)))) for c in figures]
    if width - sum(w + GAP for w in widths) < MIN_NAME_WIDTH and "1" in table.columns:
        return Figures(f"{table.title}: too wide here, use --markdown or --json", (), [])
    return table


def _cell(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _spread(figure: "Interval") -> str:
    """Return a mean and half the width of its interval, which is almost symmetric."""
    half = (figure.high - figure.low) / 2
    return f"{figure.value:.3f}" + ("" if math.isnan(half) else f" ± {half:.3f}")


def _ends(figure: "Interval") -> str:
    return "-" if math.isnan(figure.low) else f"{figure.low:+.2f} to {figure.high:+.2f}"


def undecided(board: "Board", width: int) -> Iterator[str]:
    """Yield a line for each two neighbours whose difference is not significant (p over 0.05)."""
    from librehps.decide.leaderboard import SIGNIFICANT

    for i, (upper, lower) in enumerate(pairwise(board.standings)):
        p = board.p_values[i][i + 1]
        if p > SIGNIFICANT:
            said = f" not significant, p = {p:.2f}"
            room = (width - len(said) - len(" over :")) // 2
            names = [shorten(s.generator, room) for s in (upper, lower)]
            yield f"{names[0]} over {names[1]}:{said}"
