"""Scores from a model's raw scores, and the scored row or error row of an item."""

import math
from collections.abc import Sequence

import torch

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
    means = torch.tensor(raw.mu, dtype=torch.float32).sigmoid().tolist()
    values = zip(axes, means, raw.sigma, raw.mu, strict=True)
    found = {name: ScoreAxis(mean, sigma, mu) for name, mean, sigma, mu in values}
    if frames is not None:
        return VideoScore(found, raw.scalar, frames)
    return ImageScore({n: a for n, a in found.items() if n not in VIDEO_AXES}, raw.scalar)


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
