"""The leaderboard and the agreement with people, as plain values for the page."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from librehps.decide.standings import Board, Interval, Leaderboard, Standing

Record = dict[str, Any]
MAX_BOARD_BYTES = 2_000_000


@dataclass(frozen=True)
class Agreement:
    """The agreement of the scores with people's preferences in the file `source`.

    `points` are (mean p, mean outcome, count) of each bin, counting both orders of a pair. Accuracy
    and calibration errors are in [0, 1], None if not available.
    """

    source: str
    pairs: int
    points: Sequence[tuple[float, float, int]]
    accuracy: float | None
    interval: Sequence[float] | None
    ece: float | None
    ece_calibrated: float | None
    calibrated: bool
    held_out: bool


def leaderboard_record(leaderboard: Leaderboard) -> Record:
    """Return the leaderboard as plain values, None for values that are not finite.

    Boards that would make the page too large lack their win rates, and later ones are left out;
    `left_out` is their number.
    """
    room, boards = MAX_BOARD_BYTES, []
    for board in leaderboard.boards:
        whole = _board(board)
        fitting = [one for one in (whole, {**whole, "wins": [], "p_values": []})
                   if len(json.dumps(one)) <= room]  # fmt: skip
        if not fitting:
            break
        room -= len(json.dumps(fitting[0]))
        boards.append(fitting[0])
    return {
        "by": leaderboard.by,
        "boards": boards,
        "left_out": len(leaderboard.boards) - len(boards),
        "unshared": sorted((n, count) for n, count in leaderboard.unshared.items() if count),
    }


def agreement_record(agreement: Agreement) -> Record:
    """Return the agreement as plain values."""
    return asdict(agreement)


def _board(board: Board) -> Record:
    return {
        "axis": board.axis,
        "category": board.category,
        "prompts": board.prompts,
        "standings": [_standing(standing) for standing in board.standings],
        "wins": [[_finite(value) for value in row] for row in board.wins],
        "p_values": [[_finite(value) for value in row] for row in board.p_values],
        "leads": [_interval(lead) for lead in board.leads],
    }


def _standing(standing: Standing) -> Record:
    return {
        "generator": standing.generator,
        "rank": standing.rank,
        "mean": _interval(standing.mean),
        "strength": _interval(standing.strength),
        "win_rate": _finite(standing.win_rate),
        "scored": standing.scored,
        "errors": standing.errors,
    }


def _interval(interval: Interval) -> list[float | None]:
    return [_finite(part) for part in (interval.value, interval.low, interval.high)]


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
