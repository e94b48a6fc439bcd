"""One against many: how likely each of a set is to beat another of it."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from librehps.decide.probability import Platt, judge
from librehps.types import ScoreAxis

Floats = NDArray[np.float64]


def against_others(scores: Sequence[ScoreAxis], calibrator: Platt | None = None) -> list[float]:
    """P(each beats another, evenly drawn), in [0, 1], as `judge` has it; NaN of one alone."""
    if len(scores) == 1:
        return [float("nan")]
    return [
        float(
            np.mean([judge(a, b, calibrator).probability for j, b in enumerate(scores) if j != i])
        )
        for i, a in enumerate(scores)
    ]
