"""Scored rows against each other: two, and a ranking of several."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from librehps.decide.probability import Platt, Verdict, judge
from librehps.types import Score, ScoredRow, score_columns

Record = dict[str, Any]
VERDICT = ("winner", "win_probability", "p_a_wins", "confident")


@dataclass(frozen=True)
class RankedRow:
    """A row's place in a ranking; of the last, and of one alone, there is no verdict.

    `verdict` and `gaps` are on the row, as a, and the next; `field` is the mean probability that
    the row beats another one, in [0, 1].
    """

    row: ScoredRow
    score: Score
    verdict: Verdict | None
    gaps: dict[str, float] | None
    field: float | None


def ranking(
    rows: Sequence[ScoredRow], calibrator: Platt | None = None, symmetric: bool = True
) -> list[RankedRow]:
    """The rows that have a score, best first by `overall`, of equals the first."""
    found = [(row, row.score) for row in rows if row.score is not None]
    found.sort(key=lambda pair: -pair[1].overall.raw_mean)
    return [_ranked_row(at, found, calibrator, symmetric) for at in range(len(found))]


def _ranked_row(
    at: int, ranked: list[tuple[ScoredRow, Score]], calibrator: Platt | None, symmetric: bool
) -> RankedRow:
    row, score = ranked[at]

    def against(other: Score) -> Verdict:
        return judge(score.overall, other.overall, calibrator, symmetric=symmetric)

    others = [against(other).probability for i, (_, other) in enumerate(ranked) if i != at]
    field = sum(others) / len(others) if others else None
    if at + 1 == len(ranked):
        return RankedRow(row, score, None, None, field)
    after = ranked[at + 1][1]
    return RankedRow(row, score, against(after), gaps(score, after), field)


def gaps(a: Score, b: Score) -> dict[str, float]:
    """Return mu of a less mu of b, on each axis that both have."""
    return {axis: a[axis].raw_mean - b[axis].raw_mean for axis in a if axis in b}


def judged(
    one: ScoredRow,
    two: ScoredRow,
    axes: Sequence[str],
    calibrator: Platt | None,
    symmetric: bool,
    explain: bool,
) -> Record:
    """Return the verdict on a pair and its scores on `axes`, or the error that prevents one."""
    record: Record = dict.fromkeys(VERDICT)
    for side, row in (("a", one), ("b", two)):
        record |= {
            f"{name}_{side}": value for name, value in score_columns(row.score, axes).items()
        }
    fault, known = _fault(one, two), {}
    if one.score is not None and two.score is not None:
        known = gaps(one.score, two.score)
        if fault is None:
            a, b = one.score.overall, two.score.overall
            record |= judge(a, b, calibrator, symmetric=symmetric).record()
    if explain:
        record |= {f"{axis}_gap": known.get(axis) for axis in axes}
    kind, text = fault or (None, None)
    return {**record, "status": "error" if fault else "ok", "error_type": kind, "error": text}


def _fault(one: ScoredRow, two: ScoredRow) -> tuple[str, str] | None:
    """(error type, message) of the first that cannot be scored, or of two that do not compare."""
    for row in (one, two):
        if row.error is not None:
            return type(row.error).__name__, str(row.error)
    if one.kind != two.kind:
        return "KindMismatchError", f"a is {one.kind} and b is {two.kind}: they do not compare"
    return None
