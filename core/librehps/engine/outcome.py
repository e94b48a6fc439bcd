"""Scores from a model's raw scores, and the scored row or error row of an item."""

import math
from array import array
from collections.abc import Sequence

from librehps.engine.decode import Decoded
from librehps.errors import ItemError, NonFiniteScoreError
from librehps.models.base import RawScore
from librehps.types import ImageScore, Item, Score, ScoreAxis, ScoredRow, VideoScore

# Axes of videos only: a model's output on them for an image is meaningless.
VIDEO_AXES = ("temporal",)


def to_score(raw: RawScore, axes: Sequence[str], frames: tuple[int, ...] | None) -> Score:
    """Return the score on `axes`; `frames` are a video's frame indices, None for an image.

    Raises NonFiniteScoreError.
    """
    if not is_finite(raw):
        raise NonFiniteScoreError(
            "the model returned NaN or infinity",
            hint="Try --dtype float32; if the error stays, the weights are damaged.",
        )
    means = array("f", map(sigmoid, raw.mu))
    values = zip(axes, means, raw.sigma, raw.mu, strict=True)
    if frames is not None:
        return VideoScore({n: ScoreAxis(*axis) for n, *axis in values}, raw.scalar, frames)
    stills = {n: ScoreAxis(*axis) for n, *axis in values if n not in VIDEO_AXES}
    return ImageScore(stills, raw.scalar)


def sigmoid(mu: float) -> float:
    """Return 1 / (1 + exp(-mu)), which in float64 depends on no batch and on no processor."""
    if mu >= 0:
        return 1 / (1 + math.exp(-mu))
    power = math.exp(mu)
    return power / (1 + power)


def is_finite(raw: RawScore) -> bool:
    """Return whether a raw score has neither NaN nor infinity."""
    scalar = () if raw.scalar is None else (raw.scalar,)
    return all(map(math.isfinite, (*raw.mu, *raw.sigma, *scalar)))


def ok_row(item: Item, score: Score, decoded: Decoded) -> ScoredRow:
    """Return the row of an item that was scored."""
    size = (decoded.width, decoded.height)
    facts = (decoded.prompt_tokens, decoded.sha256)
    return ScoredRow(item, decoded.kind, score, *size, *facts, remarks=decoded.remarks)


def error_row(item: Item, error: ItemError) -> ScoredRow:
    """Return the row of an item that cannot be scored."""
    return ScoredRow(item, item.kind, None, error=error)
