"""Scored rows from a model's raw scores and the errors of items."""

import math
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
    errors: list[ItemError | None] = [None] * len(items)
    raws: Any = outputs
    if not set(map(type, outputs)) <= {RawScore}:
        errors = [one if isinstance(one, ItemError) else None for one in outputs]
        # Its numbers and scalar become null below.
        nothing = RawScore((math.nan,) * len(axes), (math.nan,) * len(axes))
        raws = [nothing if e else one for e, one in zip(errors, outputs, strict=True)]
    numbers, scalars, is_good = _numbers(raws, len(axes))
    for at in np.flatnonzero(~is_good).tolist():
        errors[at], scalars[at], numbers[:, :, at] = errors[at] or _not_finite(), None, np.nan
    known = decoded
    has_errors = any(errors)
    if has_errors:
        known = [None if e is not None else one for e, one in zip(errors, decoded, strict=True)]
    found = [_NO_COLUMNS if one is None else _columns_of(one) for one in known]
    kinds, widths, heights, frames, tokens, hashes, remarks, phashes = (
        zip(*found, strict=True) if found else [()] * len(_NO_COLUMNS)
    )
    if has_errors:
        kinds = tuple(i.kind if e else k for i, e, k in zip(items, errors, kinds, strict=True))
        keys = [None if e else key for e, key in zip(errors, keys, strict=True)]
    of_videos = [at for at, name in enumerate(axes) if name in VIDEO_AXES]
    if of_videos:
        stills = np.array([indices is None for indices in frames], bool)
        for at in of_videos:
            numbers[:, at, stills] = np.nan
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


def _numbers(
    raws: Sequence[RawScore], axes: int
) -> tuple[Floats, list[float | None], NDArray[np.bool_]]:
    """Return mean, mu and sigma of raw scores by axis: (3, axes, raws); scalars; which are finite.

    A raw score is finite if it has neither NaN nor infinity.
    """
    values = np.empty((3, len(raws), axes))
    mus, sigmas, scalars = zip(*raws, strict=True) if raws else ((), (), ())
    for part, numbers in ((MU, mus), (SIGMA, sigmas)):
        flat = np.fromiter(chain.from_iterable(numbers), float, len(raws) * axes)
        values[part] = flat.reshape(-1, axes)
    values[MEAN] = _sigmoids(values[MU])
    # None becomes NaN, as does an invalid scalar: only then each is looked at.
    rated = np.array(scalars, float)
    is_finite: NDArray[np.bool_] = np.isfinite(values[MU]).all(1)
    is_finite &= np.isfinite(values[SIGMA]).all(1)
    for at in np.flatnonzero(~np.isfinite(rated)).tolist():
        is_finite[at] &= scalars[at] is None
    return values.transpose(0, 2, 1), list(scalars), is_finite


def _sigmoids(mus: Floats) -> Floats:
    """Return 1 / (1 + exp(-mu)) of each number, rounded to float32.

    The result depends on no batch and on no processor: `exp` is Python's own, in float64; that of
    numpy may depend on the processor.
    """
    flat = mus.ravel()
    powers = np.fromiter(map(exp, (-np.abs(flat)).tolist()), float, len(flat))
    means: Floats = np.where(flat >= 0, 1.0, powers) / (1 + powers)
    return means.astype(np.float32).astype(float).reshape(mus.shape)


def sigmoid(mu: float) -> float:
    """Return 1 / (1 + exp(-mu)), which in float64 depends on no batch and on no processor."""
    if mu >= 0:
        return 1 / (1 + exp(-mu))
    power = exp(mu)
    return power / (1 + power)


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
