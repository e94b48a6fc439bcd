"""Scored rows from a model's raw scores and the errors of items."""

import math
import struct
from collections.abc import Sequence
from itertools import product
from math import exp
from typing import Any

import numpy as np
from numpy.typing import NDArray

from librehps.engine.decode import Decoded
from librehps.errors import ItemError, NonFiniteScoreError
from librehps.models.base import RawScore
from librehps.scores.scored_rows import ScoredRows
from librehps.types import Item, ScoredRow

# Axes of videos only: a model's output on them for an image is meaningless.
VIDEO_AXES = ("temporal",)
_NO_COLUMNS: Any = Decoded._make([None] * len(Decoded._fields))._replace(remarks=frozenset())
# The part of a mean that the error of any `exp` is far below; the mean of a lower mu is 0.
EXP_ERROR, MIN_MU = 2.0**-40, -700.0
# For more numbers at once numpy lets another thread run, and waits for its turn, which takes long.
MAX_NUMBERS = 500

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
    errors, scalars, numbers = _scores(outputs, len(axes))
    known: Sequence[Any] = decoded
    if has_errors := any(errors):
        known = [one if e is None else _NO_COLUMNS for e, one in zip(errors, decoded, strict=True)]
    # Each field holds the values of all items.
    columns: Any = Decoded._make(zip(*known, strict=True) if known else [()] * len(_NO_COLUMNS))
    kinds = columns.kind
    if has_errors:
        pairs = zip(items, decoded, strict=True)
        kinds = [item.kind if one is None else one.kind for item, one in pairs]
        keys = [None if e else key for e, key in zip(errors, keys, strict=True)]
    _without_video_axes(numbers, columns.frames, axes)
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


def _scores(
    outputs: Sequence[RawScore | ItemError], axes: int
) -> tuple[list[ItemError | None], list[float | None], Floats]:
    """Return the error of each output, its scalar, and (3, axes, outputs) numbers as of a row."""
    errors: list[ItemError | None] = [None] * len(outputs)
    raws: Any = outputs
    if not set(map(type, outputs)) <= {RawScore}:
        errors = [one if isinstance(one, ItemError) else None for one in outputs]
        # Its numbers and scalar become null below.
        nothing = RawScore((math.nan,) * axes, (math.nan,) * axes)
        raws = [nothing if e else one for e, one in zip(errors, outputs, strict=True)]
    numbers, scalars, is_good = _numbers(raws, axes)
    for at in np.flatnonzero(~is_good).tolist():
        errors[at], scalars[at], numbers[:, :, at] = errors[at] or _not_finite(), None, np.nan
    return errors, scalars, numbers


def _without_video_axes(numbers: Floats, frames: Sequence[Any], axes: Sequence[str]) -> None:
    """Set the numbers of stills, which have no frames, to null on the axes of videos only."""
    of_videos = [at for at, name in enumerate(axes) if name in VIDEO_AXES]
    if not of_videos:
        return
    stills: Any = slice(None)
    if frames.count(None) < len(frames):
        stills = np.array([indices is None for indices in frames], bool)
    for part, at in product(numbers, of_videos):
        part[at, stills] = np.nan


def _numbers(
    raws: Sequence[RawScore], axes: int
) -> tuple[Floats, list[float | None], NDArray[np.bool_]]:
    """Return mean, mu and sigma of raw scores by axis: (3, axes, raws); scalars; which are finite.

    A raw score is finite if it has neither NaN nor infinity.
    """
    mus, sigmas, scalars = zip(*raws, strict=True) if raws else ((), (), ())
    columns = (*zip(*mus, strict=True), *zip(*sigmas, strict=True))
    # Faster than an array made of a list or of an iterator.
    pack = struct.Struct(f"{len(raws)}d").pack
    packed = b"".join([pack(*column) for column in columns])
    numbers = np.frombuffer(packed, float, axes * len(raws))
    starts = range(0, len(numbers), MAX_NUMBERS)
    means = [sigmoids(numbers[at : at + MAX_NUMBERS]).tobytes() for at in starts]
    values = np.frombuffer(bytearray().join((*means, packed))).reshape(3, axes, len(raws))
    is_finite = np.ones(len(raws), bool)
    # A sum is NaN or infinity if one of its numbers is.
    if not all(map(math.isfinite, map(sum, columns))):
        is_finite &= np.isfinite(values).all((0, 1))
    # None becomes NaN, as does an invalid scalar: only then each is looked at.
    rated = np.array(scalars, float)
    for at in np.flatnonzero(~np.isfinite(rated)).tolist():
        is_finite[at] &= scalars[at] is None
    return values, list(scalars), is_finite


def sigmoids(mus: Floats) -> Floats:
    """Return 1 / (1 + exp(-mu)) of each number, rounded to float32.

    The result depends on no batch and on no processor: it is that of Python's `exp`, in float64.
    That of numpy may depend on the processor, and is used where both are rounded to one number.
    """
    means = 1 / (1 + np.exp(-np.maximum(mus, MIN_MU)))
    rounded = (means * (1 - EXP_ERROR)).astype(np.float32)
    close = np.flatnonzero(rounded != (means * (1 + EXP_ERROR)).astype(np.float32))
    if close.size:
        rounded[close] = list(map(sigmoid, mus[close].tolist()))
    return rounded.astype(float)


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
