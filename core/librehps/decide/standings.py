"""What a leaderboard holds."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Interval:
    """A figure and its 95 % bootstrap interval, prompts resampled; NaN where it has none."""

    value: float
    low: float = float("nan")
    high: float = float("nan")


@dataclass(frozen=True)
class Standing:
    """One generator on one axis.

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


@dataclass(frozen=True)
class Board:
    """One axis, over all prompts or those of one category; the strongest generator first.

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
