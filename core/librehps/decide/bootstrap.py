"""Bootstrap intervals: whole groups (prompts) are resampled with replacement."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from librehps.decide.standings import Interval

Floats = NDArray[np.float64]
RESAMPLES = 1000
# Limits memory.
BLOCK_GROUPS = 1024


def draws(blocks: list[int], resamples: int, seed: int) -> Iterator[NDArray[np.float32]]:
    """Yield, for each block of prompts, how often each resample draws each, (resamples, block).

    Each resample draws as many prompts as all blocks have together, with replacement. The same
    blocks and seed give the same draws.
    """
    rng = np.random.default_rng(seed)
    prompts = sum(blocks)
    drawn = rng.multinomial(prompts, np.array(blocks) / prompts, size=resamples)
    for size, counts in zip(blocks, drawn.T, strict=True):
        rows = np.repeat(np.arange(resamples), counts)
        cells = rows * size + rng.integers(0, size, len(rows))
        times = np.bincount(cells, minlength=resamples * size)
        # Counts are exact in float32, which multiplies twice as fast.
        yield times.reshape(resamples, size).astype(np.float32)


def intervals(values: Floats, resampled: Floats, count: int) -> list[Interval]:
    """Return values (k,) with 95 % percentile intervals from `resampled` (resamples, k).

    Intervals are NaN if `count`, the number of groups, is 1.
    """
    if count < 2:
        return [Interval(value) for value in values.tolist()]
    # With few resamples, numpy's default method gives intervals that are too narrow.
    lows, highs = np.percentile(resampled, [2.5, 97.5], axis=0, method="weibull")
    return [Interval(*three) for three in np.stack([values, lows, highs], axis=1).tolist()]


def mean_intervals(values: Floats, resamples: int = RESAMPLES, seed: int = 0) -> list[Interval]:
    """Return the mean of each column of `values` (groups, k), with its 95 % interval."""
    count = len(values)
    starts = range(0, count, BLOCK_GROUPS)
    blocks = [values[start : start + BLOCK_GROUPS] for start in starts]
    total = np.zeros((resamples, values.shape[1]))
    drawn = draws([len(block) for block in blocks], resamples, seed)
    for block, times in zip(blocks, drawn, strict=True):
        total += times @ block
    return intervals(values.mean(axis=0), total / count, count)
