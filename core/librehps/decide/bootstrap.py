"""Intervals by resampling: groups (prompts) are drawn anew, all that is in one stays together."""

import numpy as np
from numpy.typing import NDArray

from librehps.decide.standings import Interval

Floats = NDArray[np.float64]
RESAMPLES = 1000


def mean_intervals(values: Floats, resamples: int = RESAMPLES, seed: int = 0) -> list[Interval]:
    """The mean of each column of (groups, k), with its 95 % percentile interval."""
    count = len(values)
    means = values.mean(axis=0)
    if count < 2:
        return [Interval(float(mean)) for mean in means]
    rng = np.random.default_rng(seed)
    drawn = np.empty((resamples, values.shape[1]))
    for i in range(resamples):
        weights = np.bincount(rng.integers(0, count, count), minlength=count)
        drawn[i] = weights @ values / count
    low, high = np.quantile(drawn, (0.025, 0.975), axis=0)
    return [Interval(*map(float, three)) for three in zip(means, low, high, strict=True)]
