"""Weights of axes, which make one score per row: a weighted sum of mus."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from librehps.choices import WeightMode
from librehps.errors import UsageError
from librehps.scores.select import check_axes, number_column

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Weights:
    """The weight of each axis; the score of a row is the weighted sum of its mus."""

    weights: Mapping[str, float]

    @property
    def axis(self) -> str | None:
        """The single axis with a positive weight; None for several axes."""
        [*names] = self.weights
        return names[0] if len(names) == 1 and self.weights[names[0]] > 0 else None

    def scores(self, table: Any) -> Floats:
        """Return the score of each row, (rows,); NaN if an axis of the row has no finite mu.

        Raises UsageError for an unknown axis.
        """
        check_axes(table, self.weights)
        total = np.zeros(len(table))
        for name, weight in self.weights.items():
            column = number_column(table, f"{name}_mu").cast(pa.float64())
            values = column.to_numpy(zero_copy_only=False)
            total += weight * np.where(np.isfinite(values), values, np.nan)
        return total

    def shown(self, scores: Floats) -> Floats:
        """Return scores for display: means in [0, 1] for a single axis, else unchanged."""
        if self.axis is None:
            return scores
        means: Floats = 1 / (1 + np.exp(-scores / self.weights[self.axis]))
        return means


OVERALL = Weights({"overall": 1.0})


def parse_weights(text: str) -> Weights:
    """Return the weights for text like `overall=1,alignment=0.5`; raises UsageError."""
    weights: dict[str, float] = {}
    for part in text.split(","):
        name, _, number = (piece.strip() for piece in part.partition("="))
        try:
            weight = float(number)
        except ValueError:
            weight = math.nan
        if not name or name in weights or not math.isfinite(weight):
            hint = "For example: --weights overall=1,alignment=0.5"
            if text in get_args(WeightMode):
                hint = f"For the weights of the model, use --model-weights {text}."
            raise UsageError(f"--weights: expected AXIS=NUMBER,..., got {text!r}", hint=hint)
        if weight:
            weights[name] = weight
    if not weights:
        raise UsageError(f"--weights: expected a weight other than 0, got {text!r}")
    return Weights(weights)
