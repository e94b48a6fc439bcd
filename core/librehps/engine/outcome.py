"""Scored rows from a model's raw scores and the errors of items."""

import math
from collections.abc import Sequence
from itertools import product
from math import exp
from typing import Any

import numpy as np
from numpy.typing import NDArray

from librehps.engine.decode import Decoded
from librehps.engine.outputs import Outputs
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


def decoded_columns(decoded: Sequence[Decoded | None]) -> Any:
    """Return a `Decoded` of which each field holds the values of all items.

    An item that is not decoded has None, and no remarks.
    """
    known = decoded if None not in decoded else [one or _NO_COLUMNS for one in decoded]
    return Decoded._make(zip(*known, strict=True) if known else [()] * len(_NO_COLUMNS))


def scored_rows(
    items: Sequence[Item],
    columns: Any,
    outputs: Outputs,
    keys: Sequence[bytes | None],
    axes: Sequence[str],
) -> ScoredRows:
    """Return the rows of items; a raw score with NaN or infinity gives an error row.

    `columns` are those of `decoded_columns`; only an item whose output is an error may not be
    decoded. `keys` are those of the score cache.
    """
    errors, scalars, numbers = _scores(outputs)
    kinds = columns.kind
    if any(errors):
        kinds = [kind or item.kind for item, kind in zip(items, kinds, strict=True)]
        keys = [None if e else key for e, key in zip(errors, keys, strict=True)]
        columns = Decoded._make(
            [nothing if e else value for e, value in zip(errors, values, strict=True)]
            for nothing, values in zip(_NO_COLUMNS, columns, strict=True)
        )
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


def no_rows(axes: Sequence[str]) -> ScoredRows:
    """Return rows of no items."""
    return scored_rows([], decoded_columns([]), Outputs(0, len(axes)), [], axes)


def _scores(
    outputs: Outputs,
) -> tuple[list[ItemError | None], list[float | None], Floats]:
    """Return the error of each output, its scalar, and (3, axes, outputs) numbers as of a row."""
    count, axes = len(outputs), outputs.axes
    numbers = np.empty((3, axes, count))
    numbers[1:] = outputs.numbers[:, :-1].T.reshape(2, axes, count)
    means, mus = numbers[0].reshape(-1), numbers[1].reshape(-1)
    for at in range(0, len(mus), MAX_NUMBERS):
        means[at : at + MAX_NUMBERS] = sigmoids(mus[at : at + MAX_NUMBERS])
    errors: list[ItemError | None] = [None] * count
    scalars: list[float | None] = outputs.numbers[:, -1].tolist()
    is_finite = np.isfinite(outputs.numbers)
    # A scalar that is not there is no invalid one.
    is_finite[:, -1] |= ~outputs.is_rated
    for at in np.flatnonzero(~outputs.is_rated).tolist():
        scalars[at] = None
    for at in np.flatnonzero(~is_finite.all(1)).tolist():
        errors[at], scalars[at], numbers[:, :, at] = _not_finite(), None, np.nan
    for at, error in outputs.errors.items():
        errors[at] = error
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
