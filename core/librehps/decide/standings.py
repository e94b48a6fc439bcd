"""Leaderboards: boards, standings, and figures with intervals."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Record = dict[str, Any]


@dataclass(frozen=True)
class Interval:
    """A figure and its 95 % bootstrap interval, prompts resampled; NaN where it has none."""

    value: float
    low: float = float("nan")
    high: float = float("nan")

    def record(self, name: str) -> Record:
        """The figure and its ends, as `name`, `name_low` and `name_high`; None for NaN."""
        ends = {name: self.value, f"{name}_low": self.low, f"{name}_high": self.high}
        return {key: None if math.isnan(end) else end for key, end in ends.items()}


@dataclass(frozen=True)
class Standing:
    """Figures of one generator on one axis.

    `mean` of the axis in [0, 1], each prompt counting once; `strength` is Bradley-Terry's, in
    log-odds, with mean zero over the generators; `win_rate` the mean over its opponents, in [0, 1];
    `rank` is 1 + the number of generators that are significantly stronger. `scored` rows count,
    `errors` do not.
    """

    generator: str
    rank: int
    mean: Interval
    strength: Interval
    win_rate: float
    scored: int
    errors: int

    def record(self) -> Record:
        """The standing as plain values, by column."""
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
class Board:
    """Standings on one axis, over all prompts or those of one category, strongest first.

    `wins[i][j]` is the share of prompts, in [0, 1], in which the i-th beats the j-th, ties counting
    half; `p_values[i][j]` of their strengths being equal, corrected for the number of pairs.
    """

    axis: str
    category: str | None
    prompts: int
    standings: tuple[Standing, ...]
    wins: tuple[tuple[float, ...], ...]
    p_values: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Leaderboard:
    """Every board; `unshared` counts, for each generator, prompts of its own left out since not
    all have them, on the first axis."""

    by: str
    boards: tuple[Board, ...]
    unshared: Mapping[str, int]

    def records(self) -> list[Record]:
        """Return a dict for each board, of plain values; NaN becomes None."""
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
            }
            for board in self.boards
        ]

    def to_arrow(self) -> Any:
        """Return a `pyarrow.Table` with a row for each standing of each board."""
        import pyarrow as pa

        rows = [
            {"axis": board.axis, "category": board.category, "prompts": board.prompts}
            | standing.record()
            for board in self.boards
            for standing in board.standings
        ]
        # A column may hold nulls alone, which would tell Arrow nothing.
        kinds = dict.fromkeys(rows[0], pa.float64()) | {
            **dict.fromkeys(("axis", "category", "generator"), pa.string()),
            **dict.fromkeys(("prompts", "rank", "scored", "errors"), pa.int64()),
        }
        return pa.Table.from_pylist(rows, pa.schema(kinds))
