"""Weights of columns, which make one score per row: a weighted sum of mus or other numbers."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from librehps.choices import Normalise, WeightMode, check_choice
from librehps.decide.combined import check_columns, combined
from librehps.errors import UsageError
from librehps.scores.score_table import ScoreTable
from librehps.scores.scored_file import Mask
from librehps.scores.select import score_column
from librehps.settings import WEIGHED
from librehps.types import AXES

Floats = NDArray[np.float64]
EXAMPLE = "For example: --weights overall=1,alignment=0.5"


@dataclass(frozen=True)
class Weights:
    """The weight of each axis or column; the score of a row is the weighted sum of its values.

    The value of an axis is its mu. `normalise` makes z-scores of the values before they are added:
    within a `prompt`, over `all` rows, or `none`; None: see `of`.
    """

    weights: Mapping[str, float]
    normalise: Normalise | None = None

    @property
    def axis(self) -> str | None:
        """The single axis with a positive weight, whose mu the score is; None for other scores."""
        [*names] = self.weights
        is_axis = self.normalise in (None, "none")
        return names[0] if is_axis and len(names) == 1 and self.weights[names[0]] > 0 else None

    @property
    def text(self) -> str:
        """The weights as on the command line: `overall=1,style=0.5`."""
        return ",".join(f"{name}={weight:g}" for name, weight in self.weights.items())

    def of(self, table: Any, own_axes: Sequence[str]) -> "Weights":
        """Return the weights for a table whose model has `own_axes`, with `normalise` chosen.

        Scales of own axes are alike, so that they are added unchanged; other columns get z-scores
        within each prompt. Raises UsageError for a column that is missing or holds no numbers.
        """
        check_columns(table, self.weights)
        are_alike = set(self.columns(table)) <= {f"{axis}_mu" for axis in (*own_axes, *AXES)}
        return replace(self, normalise=self.normalise or ("none" if are_alike else "prompt"))

    def columns(self, table: Any) -> dict[str, float]:
        """Return the weight of each column that is read: of an axis, its mu."""
        return {score_column(table, name): weight for name, weight in self.weights.items()}

    def scores(self, table: Any, among: Mask | None = None) -> Floats:
        """Return the score of each row, (rows,); NaN for errors, and where a value is not finite.

        With a mask, only rows `among` it have a score. Raises UsageError for a column that is
        missing or holds no numbers.
        """
        check_columns(table, self.weights)
        return combined(table, self.columns(table), self.normalise or "none", among)

    def recorded_in(self, table: ScoreTable) -> ScoreTable:
        """Return the table with these weights in its settings, which are written with it."""
        record = {"weights": dict(self.weights), "normalise": self.normalise}
        settings = {**table.settings, WEIGHED: record}
        return ScoreTable(table.source, settings, table.origin, table.folder)

    def shown(self, scores: Floats) -> Floats:
        """Return scores for display: means in [0, 1] for a single axis, else unchanged."""
        if self.axis is None:
            return scores
        means: Floats = 1 / (1 + np.exp(-scores / self.weights[self.axis]))
        return means


OVERALL = Weights({"overall": 1.0})


def choose_weights(
    axis: str | None = None,
    weights: Mapping[str, float] | str | None = None,
    normalise: Normalise | None = None,
) -> Weights:
    """Return the weights for an `axis` or for `weights`; raises UsageError for both."""
    check_weights(weights, normalise, axis, "--axis")
    if axis is not None:
        return Weights({axis: 1.0})
    if weights is None:
        return OVERALL
    chosen = parse_weights(weights) if isinstance(weights, str) else Weights(dict(weights))
    if not (any(chosen.weights.values()) and all(map(math.isfinite, chosen.weights.values()))):
        raise UsageError(f"weights: expected numbers other than 0, got {weights!r}", hint=EXAMPLE)
    return replace(chosen, normalise=normalise)


def check_weights(weights: object, normalise: Normalise | None, other: object, flag: str) -> None:
    """Raise UsageError for options that conflict with weights or need weights.

    `other` is the value of an option that takes their place, and `flag` its name.
    """
    if normalise is not None:
        check_choice(normalise, Normalise, "--normalise")
        if not weights:
            raise UsageError("--normalise needs --weights", hint=EXAMPLE)
    if weights and other:
        raise UsageError(f"{flag} and --weights cannot be used together")


def parse_weights(text: str) -> Weights:
    """Return the weights for text like `overall=1,alignment=0.5`; raises UsageError."""
    weights: dict[str, float] = {}
    for part in text.split(","):
        name, _, number = (piece.strip() for piece in part.rpartition("="))
        try:
            weight = float(number)
        except ValueError:
            weight = math.nan
        if not name or name in weights or not math.isfinite(weight):
            hint = EXAMPLE
            if text in get_args(WeightMode):
                hint = f"For the weights of the model, use --model-weights {text}."
            raise UsageError(f"--weights: expected COLUMN=NUMBER,..., got {text!r}", hint=hint)
        if weight:
            weights[name] = weight
    if not weights:
        raise UsageError(f"--weights: expected a weight other than 0, got {text!r}")
    return Weights(weights)
