"""Scores from a model's raw scores, and the scored row or error row of an item."""

import math
from array import array
from collections.abc import Callable, Sequence
from functools import lru_cache
from math import exp
from operator import itemgetter
from typing import Any

from librehps.engine.decode import Decoded
from librehps.errors import ItemError, NonFiniteScoreError
from librehps.models.base import RawScore
from librehps.types import AxisColumns, ImageScore, Item, Score, ScoredRow, VideoScore

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
    means = _rounded([1 / (1 + exp(-mu)) if mu >= 0 else sigmoid(mu) for mu in raw.mu])
    if frames is not None:
        return VideoScore(AxisColumns(tuple(axes), means, raw.sigma, raw.mu), raw.scalar, frames)
    names, kept = _still_axes(tuple(axes))
    sigmas, mus = raw.sigma, raw.mu
    if len(names) < len(means):
        means, sigmas, mus = kept(means), kept(sigmas), kept(mus)
    return ImageScore(AxisColumns(names, means, sigmas, mus), raw.scalar)


@lru_cache
def _still_axes(axes: tuple[str, ...]) -> tuple[tuple[str, ...], Callable[[Any], Any]]:
    """Return the axes that an image has, and a function that takes their values."""
    kept = [at for at, name in enumerate(axes) if name not in VIDEO_AXES]
    take = itemgetter(*kept) if len(kept) > 1 else lambda values: [values[at] for at in kept]
    return tuple(axes[at] for at in kept), take


def _rounded(values: Sequence[float]) -> Sequence[float]:
    """Return the values as of float32."""
    return array("f", values).tolist()


def sigmoid(mu: float) -> float:
    """Return 1 / (1 + exp(-mu)), which in float64 depends on no batch and on no processor."""
    if mu >= 0:
        return 1 / (1 + exp(-mu))
    power = exp(mu)
    return power / (1 + power)


def is_finite(raw: RawScore) -> bool:
    """Return whether a raw score has neither NaN nor infinity."""
    # Only a sum of finite numbers is finite; it may be too large, too.
    if math.isfinite(sum(raw.mu) + sum(raw.sigma) + (raw.scalar or 0.0)):
        return True
    scalar = () if raw.scalar is None else (raw.scalar,)
    return all(map(math.isfinite, (*raw.mu, *raw.sigma, *scalar)))


def ok_row(item: Item, score: Score, decoded: Decoded, key: bytes | None = None) -> ScoredRow:
    """Return the row of an item that was scored; `key` is its key in the score cache."""
    return ScoredRow(
        item,
        decoded.kind,
        score,
        decoded.width,
        decoded.height,
        decoded.prompt_tokens,
        decoded.sha256,
        None,
        decoded.remarks,
        key,
    )


def with_axis_objects(row: ScoredRow) -> ScoredRow:
    """Return the new row with its axes in a dict, as a user's code may expect of a score."""
    if row.score is not None:
        # In place, since nobody else has the row yet.
        vars(row.score)["axes"] = dict(row.score.axes)
    return row


def error_row(item: Item, error: ItemError) -> ScoredRow:
    """Return the row of an item that cannot be scored."""
    return ScoredRow(item, item.kind, None, error=error)
