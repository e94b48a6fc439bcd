"""Compare scored rows: a verdict on two, a ranking of several."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from librehps.decide.probability import Platt, Rules, Verdict, judge
from librehps.errors import UsageError
from librehps.files import path_text
from librehps.types import (
    DEFAULT_PROBABILITY_CUTOFF,
    DEFAULT_SIGMA_CEILING,
    DEFAULT_TEMPERATURE,
    PairComparison,
    Score,
    ScoredRow,
    score_columns,
)

Record = dict[str, Any]
VERDICT = ("winner", "win_probability", "p_a_wins", "confident")


@dataclass(frozen=True)
class RankedRow:
    """A row of a ranking, best first; `verdict` and `gaps` compare it, as a, with the next row.

    The last row has neither. `field` is the mean probability that the row beats each other row, in
    [0, 1], None for a single row.
    """

    row: ScoredRow
    score: Score
    verdict: Verdict | None
    gaps: dict[str, float] | None
    field: float | None


@dataclass(frozen=True)
class Comparison:
    """The result of `compare`: the given rows, and the `ranking` of scored rows, best first.

    `verdict` compares the first row, as a, with the second, if there are exactly two.
    """

    rows: Sequence[ScoredRow]
    ranking: list[RankedRow]
    verdict: Verdict | None
    axes: Sequence[str]
    is_calibrated: bool
    settings: str | None = None

    def records(self, explain: bool = False) -> list[Record]:
        """Return one dict for the verdict on two, else one dict per ranked row, best first.

        `explain` adds the difference in mu on each axis.
        """
        if self.verdict is not None:
            return [self._pair(self.verdict, explain)]
        return [self._place(at, place, explain) for at, place in enumerate(self.ranking, 1)]

    def _pair(self, verdict: Verdict, explain: bool) -> Record:
        a, b = self.rows
        explained = {"gaps": gaps(a.score, b.score)} if explain and a.score and b.score else {}
        return {
            "a": path_text(str(a.item.media)),
            "b": path_text(str(b.item.media)),
            "prompt": a.item.prompt,
            **verdict.record(),
            "calibrated": self.is_calibrated,
            "scores_a": score_columns(a.score, self.axes),
            "scores_b": score_columns(b.score, self.axes),
            **explained,
            "settings": self.settings,
        }

    def _place(self, at: int, place: RankedRow, explain: bool) -> Record:
        return {
            "rank": at,
            "item": path_text(str(place.row.item.media)),
            "prompt": place.row.item.prompt,
            **score_columns(place.score, self.axes),
            "win_probability": place.verdict and place.verdict.probability,
            "win_probability_field": place.field,
            "confident": place.verdict and place.verdict.confident,
            "calibrated": self.is_calibrated,
            "settings": self.settings,
            **({"gaps": place.gaps} if explain else {}),
        }


def compare_rows(
    rows: Sequence[ScoredRow],
    *,
    calibrator: Platt | None = None,
    symmetric: bool = True,
    axes: Sequence[str] | None = None,
    settings: str | None = None,
) -> Comparison:
    """Compare two or more scored rows of one kind and one prompt, by `overall`.

    `axes` and `settings` (the digest) describe the model. Raises UsageError, and of two rows the
    ItemError of a failed one.
    """
    if len(rows) < 2:
        raise UsageError(f"expected two or more media to compare, got {len(rows)}")
    for row in rows:
        if len(rows) == 2 and row.error is not None:
            raise row.error
    scored = [row for row in rows if row.score is not None]
    kinds = sorted({str(row.kind) for row in scored})
    if len(kinds) > 1 or len({row.item.prompt for row in scored}) > 1:
        raise UsageError("expected rows of one kind and one prompt")
    scores = [row.score for row in scored if row.score is not None]
    verdict = None
    if len(rows) == 2:
        a, b = scores
        verdict = judge(a.overall, b.overall, calibrator, symmetric=symmetric)
    known = dict.fromkeys(axis for score in scores for axis in score)
    return Comparison(
        rows=rows,
        ranking=ranking(rows, calibrator, symmetric),
        verdict=verdict,
        axes=tuple(known) if axes is None else axes,
        is_calibrated=calibrator is not None,
        settings=settings,
    )


def pair_comparison(a: Score, b: Score, calibrator: Platt | None, rules: Rules) -> PairComparison:
    """Return the verdict on two scores, with the limits and the fit that it was made with."""
    verdict = judge(a.overall, b.overall, calibrator, **rules)
    ceiling = rules.get("sigma_ceiling")
    if ceiling is None:
        ceiling = rules.get("sigma_cutoff", DEFAULT_SIGMA_CEILING)
    return PairComparison(
        verdict.winner,
        verdict.probability,
        verdict.confident,
        a,
        b,
        probability_cutoff=rules.get("probability_cutoff", DEFAULT_PROBABILITY_CUTOFF),
        sigma_ceiling=ceiling,
        temperature=rules.get("temperature", DEFAULT_TEMPERATURE),
        calibrator_a=None if calibrator is None else calibrator.a,
        calibrator_b=None if calibrator is None else calibrator.b,
    )


def ranking(
    rows: Sequence[ScoredRow], calibrator: Platt | None = None, symmetric: bool = True
) -> list[RankedRow]:
    """Return the rows with a score, best first by `overall`; ties keep their order."""
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
    """Return mu of a minus mu of b, for each axis that both have."""
    return {axis: a[axis].raw_mean - b[axis].raw_mean for axis in a if axis in b}


def judged(
    one: ScoredRow,
    two: ScoredRow,
    axes: Sequence[str],
    calibrator: Platt | None,
    symmetric: bool,
    explain: bool,
) -> Record:
    """Return the verdict on a pair with its scores on `axes`, or an error without a verdict."""
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
    """Return (error type, message) for a failed row or a pair of different kinds, else None."""
    for row in (one, two):
        if row.error is not None:
            return type(row.error).__name__, str(row.error)
    if one.kind != two.kind:
        return "KindMismatchError", f"expected one kind, got a: {one.kind}, b: {two.kind}"
    return None
