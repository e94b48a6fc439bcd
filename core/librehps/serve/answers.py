"""Convert scored rows to the JSON of answers, without NaN or infinity."""

from collections.abc import Sequence
from typing import Any

from librehps.decide.probability import Platt, judge
from librehps.files import printable
from librehps.serve.guard import Refused
from librehps.serve.samples import Sample
from librehps.serve.schemas import REWARD_NAME
from librehps.settings import Settings
from librehps.types import ScoredRow, score_columns


def plain_answer(rows: Sequence[ScoredRow], settings: Settings) -> dict[str, Any]:
    """Return the answer to `items`: one object per row, and the settings digest."""
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
    """Return results and errors of each sample; `rows` are those of the samples with media."""
    results, errors, left = [], [], iter(rows)
    for sample in samples:
        parts, problems = {}, dict(sample.problems)
        row = None if sample.media is None else next(left)
        if row is not None and row.score is not None:
            found = {**score_columns(row.score, [*row.score]), "scalar": row.score.scalar}
            parts[REWARD_NAME] = {name: value for name, value in found.items() if value is not None}
        elif row is not None:
            problems[REWARD_NAME] = printable(f"{type(row.error).__name__}: {row.error}")
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
    """Return the verdict and both scores; raises Refused if a side has no score or kinds differ."""
    for row in (a, b):
        if row.error is not None:
            reason = printable(f"{row.item.id}: {row.error}")
            raise Refused(422, type(row.error).__name__, reason)
    assert a.score is not None and b.score is not None  # noqa: S101 - neither is an error
    if a.kind != b.kind:
        raise Refused(422, "KindsDiffer", f"different kinds: a is {a.kind}, b is {b.kind}")
    judgement = judge(a.score.overall, b.score.overall, calibrator, symmetric=symmetric)
    return {
        **judgement.record(),
        "calibrated": calibrator is not None,
        "scores": {"a": score_columns(a.score, axes), "b": score_columns(b.score, axes)},
    }
