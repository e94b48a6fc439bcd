"""Scored rows from a model's raw scores and the errors of items."""

import math
import struct
from collections.abc import Sequence
from itertools import chain
from math import exp
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
_NO_COLUMNS: Any = Decoded._make([None] * len(Decoded._fields))._replace(remarks=frozenset())
# The part of a mean that the errors of any `exp` are far below.
EXP_ERROR = 2.0**-40

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
    known: Sequence[Any] = decoded
    if has_errors := any(errors):
        known = [one if e is None else _NO_COLUMNS for e, one in zip(errors, decoded, strict=True)]
    # Each field holds the values of all items.
    columns: Any = Decoded._make(zip(*known, strict=True) if known else [()] * len(_NO_COLUMNS))
    kinds = columns.kind
    if has_errors:
        kinds = tuple(i.kind if e else k for i, e, k in zip(items, errors, kinds, strict=True))
        keys = [None if e else key for e, key in zip(errors, keys, strict=True)]
    of_videos = [at for at, name in enumerate(axes) if name in VIDEO_AXES]
    if of_videos:
        stills = np.array([indices is None for indices in columns.frames], bool)
        for at in of_videos:
            numbers[:, at, stills] = np.nan
    return ScoredRows(
        tuple(axes),
        items,
        kinds,
        columns.width,
        columns.height,
        columns.frames,
        columns.prompt_tokens,
        columns.sha256,
        errors,
        columns.remarks,
        keys,
        scalars,
        numbers,
        columns.phash,
    )


def _numbers(
    raws: Sequence[RawScore], axes: int
) -> tuple[Floats, list[float | None], NDArray[np.bool_]]:
    """Return mean, mu and sigma of raw scores by axis: (3, axes, raws); scalars; which are finite.

    A raw score is finite if it has neither NaN nor infinity.
    """
    mus, sigmas, scalars = zip(*raws, strict=True) if raws else ((), (), ())
    flat = list(chain.from_iterable(chain(mus, sigmas)))
    # Faster than an array made of a list or of an iterator.
    packed = np.frombuffer(struct.pack(f"{len(flat)}d", *flat))
    values = np.empty((3, len(raws), axes))
    values[MU], values[SIGMA] = packed.reshape(2, len(raws), axes)
    values[MEAN] = _sigmoids(values[MU])
    # None becomes NaN, as does an invalid scalar: only then each is looked at.
    rated = np.array(scalars, float)
    is_finite = np.ones(len(raws), bool)
    if not np.isfinite(values).all():
        is_finite &= np.isfinite(values).all((0, 2))
    for at in np.flatnonzero(~np.isfinite(rated)).tolist():
        is_finite[at] &= scalars[at] is None
    return values.transpose(0, 2, 1), list(scalars), is_finite


def _sigmoids(mus: Floats) -> Floats:
    """Return 1 / (1 + exp(-mu)) of each number, rounded to float32.

    The result depends on no batch and on no processor: it is that of Python's `exp`, in float64.
    That of numpy may depend on the processor, and is used where both are rounded to one number.
    """
    flat = mus.ravel()
    means = _means(flat, np.exp(-np.abs(flat)))
    rounded = means.astype(np.float32)
    low, high = (means * part for part in (1 - EXP_ERROR, 1 + EXP_ERROR))
    close = np.flatnonzero(low.astype(np.float32) != high.astype(np.float32))
    if close.size:
        few = flat[close]
        rounded[close] = _means(few, np.array([exp(-abs(mu)) for mu in few.tolist()]))
    return rounded.astype(float).reshape(mus.shape)


def _means(mus: Floats, powers: Floats) -> Floats:
    """Return 1 / (1 + exp(-mu)) of each number; `powers` are exp(-abs(mu))."""
    means: Floats = np.where(mus >= 0, 1.0, powers) / (1 + powers)
    return means


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
