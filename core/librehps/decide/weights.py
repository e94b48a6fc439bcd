"""One score a row: an axis, or a weighted sum of several, on mu."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from librehps.errors import UsageError
from librehps.scores.select import check_axes, number_column

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Weights:
    """Weight of each axis that counts; the score of a row is the weighted sum of its mus."""

    weights: Mapping[str, float]

    @property
    def axis(self) -> str | None:
        """The axis that counts alone, with any weight above 0; None of several."""
        [*names] = self.weights
        return names[0] if len(names) == 1 and self.weights[names[0]] > 0 else None

    def scores(self, table: Any) -> Floats:
        """Return (rows,) scores; NaN where a row lacks a finite value on an axis that counts.

        Raises UsageError for a name that is no axis of the table.
        """
        check_axes(table, self.weights)
        total = np.zeros(len(table))
        for name, weight in self.weights.items():
            column = number_column(table, f"{name}_mu").cast(pa.float64())
            values = column.to_numpy(zero_copy_only=False)
            total += weight * np.where(np.isfinite(values), values, np.nan)
        return total

    def shown(self, scores: Floats) -> Floats:
        """Scores as a person reads them: of an axis alone its mean in [0, 1], else as they are."""
        if self.axis is None:
            return scores
        means: Floats = 1 / (1 + np.exp(-scores / self.weights[self.axis]))
        return means


OVERALL = Weights({"overall": 1.0})


def parse_weights(text: str) -> Weights:
    """The weights of `overall=1,alignment=0.5`; raises UsageError."""
    weights: dict[str, float] = {}
    for part in text.split(","):
        name, _, number = (piece.strip() for piece in part.partition("="))
        try:
            weight = float(number)
        except ValueError:
            weight = math.nan
        if not name or name in weights or not math.isfinite(weight):
            raise UsageError(
                f"{text!r} is no mix of axes",
                hint="Write it like overall=1,alignment=0.5.",
            )
        if weight:
            weights[name] = weight
    if not weights:
        raise UsageError(f"{text!r} gives every axis a weight of 0")
    return Weights(weights)
