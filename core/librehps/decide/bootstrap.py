"""Intervals by resampling: groups (prompts) are drawn anew, all that is in one stays together."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from librehps.decide.standings import Interval

Floats = NDArray[np.float64]
RESAMPLES = 1000
# Groups whose draws are held at a time.
AT_ONCE = 1024


def draws(blocks: list[int], resamples: int, seed: int) -> Iterator[NDArray[np.float32]]:
    """How often each prompt is drawn in each resample, (resamples, block), a block at a time.

    All blocks together are one multinomial draw of as many prompts as there are; the same blocks
    and seed always give the same draw.
    """
    rng = np.random.default_rng(seed)
    prompts = sum(blocks)
    drawn = rng.multinomial(prompts, np.array(blocks) / prompts, size=resamples)
    for size, counts in zip(blocks, drawn.T, strict=True):
        rows = np.repeat(np.arange(resamples), counts)
        cells = rows * size + rng.integers(0, size, len(rows))
        times = np.bincount(cells, minlength=resamples * size)
        # Whole numbers as small as these are exact, and single precision multiplies twice as fast.
        yield times.reshape(resamples, size).astype(np.float32)


def intervals(values: Floats, resampled: Floats, count: int) -> list[Interval]:
    """Values (k,) with 95 % percentile intervals of (resamples, k); `count` groups were drawn.

    One group alone says nothing of others.
    """
    if count < 2:
        return [Interval(value) for value in values.tolist()]
    # Of few resamples, numpy's own rule would cut each end a little short.
    lows, highs = np.percentile(resampled, [2.5, 97.5], axis=0, method="weibull")
    return [Interval(*three) for three in np.stack([values, lows, highs], axis=1).tolist()]


def mean_intervals(values: Floats, resamples: int = RESAMPLES, seed: int = 0) -> list[Interval]:
    """The mean of each column of (groups, k), with its interval."""
    count = len(values)
    starts = range(0, count, AT_ONCE)
    blocks = [values[start : start + AT_ONCE] for start in starts]
    total = np.zeros((resamples, values.shape[1]))
    drawn = draws([len(block) for block in blocks], resamples, seed)
    for block, times in zip(blocks, drawn, strict=True):
        total += times @ block
    return intervals(values.mean(axis=0), total / count, count)
