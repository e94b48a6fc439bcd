"""Convert scored rows to the JSON of answers, without NaN or infinity."""

from collections.abc import Sequence
from typing import Any

from librehps.decide.probability import Platt, judge
from librehps.files import printable
from librehps.serve.guard import Refused
from librehps.serve.samples import Sample
from librehps.serve.schemas import Identity
from librehps.serve.served_rewards import ServedRewards
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


def rewards_answer(
    samples: Sequence[Sample], rows: Sequence[ScoredRow], served: ServedRewards, settings: Settings
) -> dict[str, Any]:
    """Return results and errors of each sample; `rows` are those of the samples with media."""
    left = iter(rows)
    pairs = [
        ({}, dict(sample.problems))
        if sample.media is None
        else _rewards(sample, next(left), served)
        for sample in samples
    ]
    answer: dict[str, Any] = {
        "results": [found for found, _ in pairs],
        "errors": [problems for _, problems in pairs],
        "settings": settings.digest,
    }
    if any(sample.identity for sample in samples):
        version = {"scorer_version": settings.digest}
        none = dict.fromkeys(Identity.model_fields)
        answer["identities"] = [{**none, **sample.identity, **version} for sample in samples]
    return answer


def _rewards(
    sample: Sample, row: ScoredRow, served: ServedRewards
) -> tuple[dict[str, dict[str, float]], dict[str, str]]:
    """Return the sample's rewards, each with the parts that have a value, and its errors."""
    results, problems = {}, dict(sample.problems)
    if row.score is None:
        reason = printable(f"{type(row.error).__name__}: {row.error}")
        return {}, problems | dict.fromkeys(sample.rewards, reason)
    values = {**score_columns(row.score, [*row.score]), "scalar": row.score.scalar}
    for name in sample.rewards:
        parts = {p: value for p in served.table[name] if (value := values.get(p)) is not None}
        if parts:
            results[name] = parts
        else:
            problems[name] = f"{name}: no value for an image (only videos have one)"
    return results, problems


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
