"""Leaderboards: boards, standings, and values with intervals."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from librehps.decide.weights import Weights

Record = dict[str, Any]


@dataclass(frozen=True)
class Interval:
    """A value and its 95 % bootstrap interval over prompts; ends are NaN without an interval."""

    value: float
    low: float = float("nan")
    high: float = float("nan")

    def record(self, name: str) -> Record:
        """Return a dict of `name`, `name_low` and `name_high`; None for NaN."""
        ends = {name: self.value, f"{name}_low": self.low, f"{name}_high": self.high}
        return {key: None if math.isnan(end) else end for key, end in ends.items()}


@dataclass(frozen=True)
class Standing:
    """The results of one generator on one axis.

    `mean` is the mean over prompts, in [0, 1]; `strength` the Bradley-Terry strength in log-odds,
    with mean zero over generators; `win_rate` the mean over opponents, in [0, 1]; `rank` is 1 +
    the number of significantly stronger generators. `scored` and `errors` are numbers of rows.
    """

    generator: str
    rank: int
    mean: Interval
    strength: Interval
    win_rate: float
    scored: int
    errors: int

    def record(self) -> Record:
        """Return the standing as a dict of plain values, by column."""
        return {
            "rank": self.rank,
            "generator": self.generator,
            **self.mean.record("mean"),
            **self.strength.record("strength"),
            "win_rate": self.win_rate,
            "scored": self.scored,
            "errors": self.errors,
        }


@dataclass(frozen=True)
class Need:
    """The win rate of the `a`-th over the `b`-th generator of a board, and what narrows it.

    `samples` is the mean number of samples a prompt of the two. `between` is the share of the
    variance that lies between prompts, None if it is unknown: with one sample a prompt. Of
    `more_prompts` and `more_samples` (a prompt, of both) either makes the interval as narrow as
    asked, if they are like the present ones; 0 if it is so already, None if no width is asked, if
    it is not known, or if no such number suffices.
    """

    a: int
    b: int
    rate: Interval
    prompts: int
    samples: float
    between: float | None
    more_prompts: int | None
    more_samples: int | None

    def placed(self, a: int, b: int) -> "Need":
        """Return the need under other numbers."""
        return replace(self, a=a, b=b)

    def swapped(self, a: int, b: int) -> "Need":
        """Return the need with the win rate of the other generator."""
        rate = Interval(1 - self.rate.value, 1 - self.rate.high, 1 - self.rate.low)
        return replace(self, a=a, b=b, rate=rate)

    def record(self, names: Sequence[str]) -> Record:
        """Return the need as a dict of plain values; `names` are the generators of the board."""
        return {
            "a": names[self.a],
            "b": names[self.b],
            **self.rate.record("win_rate"),
            "width": self.rate.high - self.rate.low,
            "prompts": self.prompts,
            "samples": self.samples,
            "between_share": self.between,
            "more_prompts": self.more_prompts,
            "more_samples": self.more_samples,
        }


@dataclass(frozen=True)
class Board:
    """The standings on one axis, strongest first, over all prompts or one category.

    `wins[i][j]` is the share of prompts, in [0, 1], on which the i-th beats the j-th; ties count
    half. `p_values[i][j]` tests equal strengths, corrected for the number of pairs. `leads[j]` is
    the share of the first over the j-th, with its interval. `needs` has the interval of each win
    rate where these are asked for.
    """

    axis: str
    category: str | None
    prompts: int
    standings: tuple[Standing, ...]
    wins: tuple[tuple[float, ...], ...]
    p_values: tuple[tuple[float, ...], ...]
    leads: tuple[Interval, ...] = ()
    needs: tuple[Need, ...] = ()

    def need_records(self) -> list[Record]:
        """Return the needs as dicts of plain values."""
        names = [standing.generator for standing in self.standings]
        return [need.record(names) for need in self.needs]


@dataclass(frozen=True)
class Leaderboard:
    """The boards of all axes; `unshared` is, for each generator, the number of its prompts on the
    first axis that other generators lack.

    `weights` are those of a board over a weighted sum. `target_width` is the asked width of the
    intervals of win rates; `sequential` is True if these intervals hold whenever the user stops.
    """

    by: str
    boards: tuple[Board, ...]
    unshared: Mapping[str, int]
    weights: Weights | None = None
    target_width: float | None = None
    sequential: bool = False

    def records(self) -> list[Record]:
        """Return a dict for each board, of plain values; NaN becomes None."""
        chosen = self.weights
        summed = chosen and {"weights": dict(chosen.weights), "normalise": chosen.normalise}
        return [
            {
                "by": self.by,
                "axis": board.axis,
                "category": board.category,
                "prompts": board.prompts,
                "unshared": dict(self.unshared),
                "standings": [standing.record() for standing in board.standings],
                "wins": board.wins,
                "p_values": board.p_values,
                **(summed or {}),
                **self._needed(board),
            }
            for board in self.boards
        ]

    def _needed(self, board: Board) -> Record:
        if not board.needs:
            return {}
        return {
            "target_width": self.target_width,
            "sequential": self.sequential,
            "pairs": board.need_records(),
        }

    def to_arrow(self) -> Any:
        """Return a `pyarrow.Table` with a row for each standing of each board."""
        import pyarrow as pa

        rows = [
            {"axis": board.axis, "category": board.category, "prompts": board.prompts}
            | standing.record()
            for board in self.boards
            for standing in board.standings
        ]
        # Arrow cannot infer the type of a column of nulls.
        kinds = dict.fromkeys(rows[0], pa.float64()) | {
            **dict.fromkeys(("axis", "category", "generator"), pa.string()),
            **dict.fromkeys(("prompts", "rank", "scored", "errors"), pa.int64()),
        }
        return pa.Table.from_pylist(rows, pa.schema(kinds))
