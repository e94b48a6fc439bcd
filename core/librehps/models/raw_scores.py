"""The raw scores of a batch as columns."""

import math
from collections.abc import Iterator, Sequence
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from librehps.models.base import RawScore

Floats = NDArray[np.float64]


class RawScores(Sequence[RawScore]):
    """Raw scores in a table; a `RawScore` is made when it is asked for.

    `numbers` has a row for each item: mu of each axis, sigma of each axis, and the scalar, which is
    NaN where `has_scalar` is false.
    """

    __slots__ = ("has_scalar", "numbers")

    def __init__(self, numbers: Floats, has_scalar: bool) -> None:
        self.numbers, self.has_scalar = numbers, has_scalar

    @classmethod
    def of_columns(cls, mu: Tensor, sigma: Tensor, scalar: Tensor | None = None) -> "RawScores":
        """Return the scores of mu and sigma, (items, axes), and scalar, (items,), on the CPU."""
        items, axes = mu.shape
        numbers = np.full((items, 2 * axes + 1), math.nan)
        numbers[:, :axes], numbers[:, axes:-1] = mu.double().numpy(), sigma.double().numpy()
        if scalar is not None:
            numbers[:, -1] = scalar.double().numpy()
        return cls(numbers, scalar is not None)

    def __len__(self) -> int:
        return len(self.numbers)

    @overload
    def __getitem__(self, at: int) -> RawScore: ...
    @overload
    def __getitem__(self, at: slice) -> "RawScores": ...
    def __getitem__(self, at: int | slice) -> "RawScore | RawScores":
        if isinstance(at, slice):
            return RawScores(self.numbers[at], self.has_scalar)
        return self._score(self.numbers[at].tolist())

    def __iter__(self) -> Iterator[RawScore]:
        return map(self._score, self.numbers.tolist())

    def _score(self, values: list[float]) -> RawScore:
        *scores, scalar = values
        axes = len(scores) // 2
        return RawScore(
            tuple(scores[:axes]), tuple(scores[axes:]), scalar if self.has_scalar else None
        )


def as_table(scores: Sequence[RawScore], axes: int) -> tuple[Floats, Any]:
    """Return (`numbers` as of `RawScores`, whether each of the scores, or all, has a scalar)."""
    if isinstance(scores, RawScores):
        return scores.numbers, scores.has_scalar
    rows = [(*mu, *sigma, scalar) for mu, sigma, scalar in scores]
    # None becomes NaN.
    numbers = np.array(rows, float).reshape(-1, 2 * axes + 1)
    return numbers, [one.scalar is not None for one in scores]
