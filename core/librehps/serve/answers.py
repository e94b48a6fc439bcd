"""From rows to the JSON of answers; nothing in it is NaN or infinite."""

from collections.abc import Sequence
from typing import Any

from librehps.decide.probability import Platt, judge
from librehps.files import printable
from librehps.serve.guard import Refused
from librehps.serve.samples import Sample
from librehps.serve.schemas import REWARD
from librehps.settings import Settings
from librehps.types import ScoredRow, score_columns


def plain_answer(rows: Sequence[ScoredRow], settings: Settings) -> dict[str, Any]:
    items = [
        {
            "id": row.item.id,
            "status": row.status,
            **score_columns(row.score, settings.axes),
            "error_type": None if row.error is None else type(row.error).__name__,
            "error": None if row.error is None else printable(str(row.error)),
        }
        for row in rows
    ]
    return {"items": items, "settings": settings.digest}


def rewards_answer(samples: Sequence[Sample], rows: Sequence[ScoredRow]) -> dict[str, Any]:
    """Results and errors of each sample; `rows` are of those that have media, in order."""
    results, errors, left = [], [], iter(rows)
    for sample in samples:
        parts, problems = {}, dict(sample.problems)
        row = None if sample.media is None else next(left)
        if row is not None and row.score is not None:
            found = {**score_columns(row.score, [*row.score]), "scalar": row.score.scalar}
            parts[REWARD] = {name: value for name, value in found.items() if value is not None}
        elif row is not None:
            problems[REWARD] = printable(f"{type(row.error).__name__}: {row.error}")
        results.append(parts)
        errors.append(problems)
    return {"results": results, "errors": errors}


def verdict(
    a: ScoredRow,
    b: ScoredRow,
    axes: Sequence[str],
    calibrator: Platt | None,
    symmetric: bool,
) -> dict[str, Any]:
    """The verdict and both scores; raises Refused where a side has no score, or another kind."""
    for row in (a, b):
        if row.error is not None:
            reason = printable(f"{row.item.id}: {row.error}")
            raise Refused(422, type(row.error).__name__, reason)
    assert a.score is not None and b.score is not None  # noqa: S101 - neither is an error
    if a.kind != b.kind:
        raise Refused(422, "KindsDiffer", f"a is of kind {a.kind} and b of kind {b.kind}")
    told = judge(a.score.overall, b.score.overall, calibrator, symmetric=symmetric)
    return {
        **told.record(),
        "calibrated": calibrator is not None,
        "scores": {"a": score_columns(a.score, axes), "b": score_columns(b.score, axes)},
    }
