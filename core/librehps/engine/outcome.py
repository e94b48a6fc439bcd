"""Scored rows from a model's raw scores and the errors of items."""

import math
from array import array
from collections.abc import Sequence
from itertools import chain
from math import exp
from operator import attrgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from librehps.engine.decode import Decoded
from librehps.errors import ItemError, NonFiniteScoreError
from librehps.models.base import RawScore
from librehps.scores.scored_rows import MEAN, MU, SIGMA, ScoredRows
from librehps.types import Item, ScoredRow

# Axes of videos only: a model's output on them for an image is meaningless.
VIDEO_AXES = ("temporal",)
_columns_of = attrgetter(
    "kind", "width", "height", "frames", "prompt_tokens", "sha256", "remarks", "phash"
)  # fmt: skip
_NO_COLUMNS = (None, None, None, None, None, None, frozenset[str](), None)

Floats = NDArray[np.float64]


def scored_rows(
    items: Sequence[Item],
    decoded: Sequence[Decoded | None],
    outputs: Sequence[RawScore | ItemError],
    keys: Sequence[bytes | None],
    axes: Sequence[str],
) -> ScoredRows:
    """Return the rows of items; a raw score with NaN or infinity gives an error row.

    `decoded` is None only where the output is an error; `keys` are those of the score cache.
    """
    errors = [one if isinstance(one, ItemError) else None for one in outputs]
    scored = [at for at, error in enumerate(errors) if error is None]
    raws: list[Any] = [outputs[at] for at in scored]
    numbers = np.full((3, len(axes), len(items)), np.nan)
    numbers[:, :, scored] = _numbers(raws, len(axes))
    scalars: list[float | None] = [None] * len(items)
    for at, raw, is_good in zip(scored, raws, are_finite(raws).tolist(), strict=True):
        scalars[at] = raw.scalar
        if not is_good:
            errors[at], scalars[at], numbers[:, :, at] = _not_finite(), None, np.nan
    known = [None if e is not None else one for e, one in zip(errors, decoded, strict=True)]
    found = [_NO_COLUMNS if one is None else _columns_of(one) for one in known]
    kinds, widths, heights, frames, tokens, hashes, remarks, phashes = (
        zip(*found, strict=True) if found else [()] * len(_NO_COLUMNS)
    )
    if len(scored) < len(items) or any(errors):
        kinds = tuple(i.kind if e else k for i, e, k in zip(items, errors, kinds, strict=True))
        keys = [None if e else key for e, key in zip(errors, keys, strict=True)]
    of_videos = [at for at, name in enumerate(axes) if name in VIDEO_AXES]
    if of_videos:
        stills = [at for at, indices in enumerate(frames) if indices is None]
        numbers[:, np.array(of_videos)[:, None], stills] = np.nan
    return ScoredRows(
        tuple(axes),
        items,
        kinds,
        widths,
        heights,
        frames,
        tokens,
        hashes,
        errors,
        remarks,
        keys,
        scalars,
        numbers,
        phashes,
    )


def _numbers(raws: Sequence[RawScore], axes: int) -> Floats:
    """Return mean, mu and sigma of raw scores by axis: (3, axes, raws)."""
    values = np.empty((3, len(raws), axes))
    mus = list(chain.from_iterable([raw.mu for raw in raws]))
    # Python's own `exp`, which in float64 depends on no processor; numpy's may.
    means = array("f", [1 / (1 + exp(-mu)) if mu >= 0 else sigmoid(mu) for mu in mus])
    values[MEAN] = np.frombuffer(means, np.float32).reshape(len(raws), axes)
    values[MU] = np.reshape(mus, (len(raws), axes))
    sigmas = list(chain.from_iterable([raw.sigma for raw in raws]))
    values[SIGMA] = np.reshape(sigmas, (len(raws), axes))
    return values.transpose(0, 2, 1)


def sigmoid(mu: float) -> float:
    """Return 1 / (1 + exp(-mu)), which in float64 depends on no batch and on no processor."""
    if mu >= 0:
        return 1 / (1 + exp(-mu))
    power = exp(mu)
    return power / (1 + power)


def are_finite(raws: Sequence[RawScore]) -> NDArray[np.bool_]:
    """Return which raw scores have neither NaN nor infinity."""
    sums = np.array([sum(raw.mu) + sum(raw.sigma) + (raw.scalar or 0.0) for raw in raws], float)
    found: NDArray[np.bool_] = np.isfinite(sums)
    for at in np.flatnonzero(~found).tolist():
        # Only a sum of finite numbers is finite; it may be too large, too.
        found[at] = is_finite(raws[at])
    return found


def is_finite(raw: RawScore) -> bool:
    """Return whether a raw score has neither NaN nor infinity."""
    scalar = () if raw.scalar is None else (raw.scalar,)
    return all(map(math.isfinite, (*raw.mu, *raw.sigma, *scalar)))


def _not_finite() -> NonFiniteScoreError:
    return NonFiniteScoreError(
        "the model returned NaN or infinity",
        hint="Try --dtype float32; if the error stays, the weights are damaged.",
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
