"""Scores of several generators under the prompts that all generators have."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from librehps.decide.bootstrap import draws
from librehps.decide.bradley_terry import Floats, Sums
from librehps.scores.scored_file import Mask

Codes = NDArray[np.integer[Any]]
# Sums over more prompts than these are so close to normal that resamples are drawn as such: the
# skewness of a sum falls with the square root of its terms. Their covariances must fit in memory.
MAX_RESAMPLED_PROMPTS, MAX_NORMAL_FIGURES = 50_000, 2000
MAX_COUNTED_CELLS = 1 << 26
# Limits of a block of prompts, and of a block of rows, for memory.
BLOCK_COMPARISONS, BLOCK_PROMPTS, BLOCK_ROWS = 4_000_000, 1024, 1 << 20
SIGN = np.uint32(1 << 31)


@dataclass(frozen=True)
class Scored:
    """The rows with a score: codes of prompt and generator, `mu` and `mean`; each (rows,)."""

    prompt: Codes
    generator: Codes
    mu: Floats
    mean: Floats


@dataclass(frozen=True)
class Shared:
    """The scores under shared prompts; `count` generators.

    `prompts` are the codes of the shared prompts; `unshared` is the number of other prompts of each
    generator. `mu` has the samples (rows,), sorted by prompt, generator and value. `sizes` is the
    number of samples, at least 1, and `means` their mean, per prompt and generator.
    """

    mu: Floats
    sizes: Codes
    means: Floats
    prompts: Codes
    unshared: Codes
    count: int

    def among(self, prompts: Codes) -> "Shared":
        """Return the scores under some prompts, given as sorted codes."""
        kept = np.isin(self.prompts, prompts)
        rows = np.repeat(kept, self.sizes.sum(axis=1))
        return Shared(
            self.mu[rows],
            self.sizes[kept],
            self.means[kept],
            self.prompts[kept],
            self.unshared,
            self.count,
        )

    def sums(self, resamples: int, seed: int) -> tuple[Sums, Sums]:
        """Return wins and means summed over all prompts, and over each resample of the prompts.

        A resample is the same for every generator, so that differences are paired.
        """
        pairs = self.count * (self.count - 1) // 2
        is_normal = len(self.prompts) > MAX_RESAMPLED_PROMPTS
        is_normal &= pairs + self.count <= MAX_NORMAL_FIGURES
        found = self._normal(resamples, seed) if is_normal else self._drawn(resamples, seed)
        total, again = (Sums(sums[..., :pairs], sums[..., pairs:], len(self.prompts))
                        for sums in found)  # fmt: skip
        return total, again

    def _drawn(self, resamples: int, seed: int) -> tuple[Floats, Floats]:
        """Return the sums of wins and means, and their sums over resampled prompts."""
        total, again = np.zeros(1), np.zeros((resamples, 1))
        blocks = list(self._blocks())
        drawn = draws([len(block) for block in blocks], resamples, seed)
        for block, times in zip(blocks, drawn, strict=True):
            figures = self._figures(block)
            total, again = total + figures.sum(axis=0), again + times @ figures.astype(np.float32)
        return total, again

    def _normal(self, resamples: int, seed: int) -> tuple[Floats, Floats]:
        """Return the sums of wins and means, and draws from the normal distribution of their
        resamples."""
        total, squares = np.zeros(1), np.zeros(1)
        for block in self._blocks():
            figures = self._figures(block)
            total, squares = total + figures.sum(axis=0), squares + figures.T @ figures
        covariance = squares - np.outer(total, total) / len(self.prompts)
        variances, directions = np.linalg.eigh(covariance)
        # Rounding makes a variance of zero negative.
        spread = directions * np.sqrt(np.maximum(variances, 0))
        rng = np.random.default_rng(seed)
        return total, total + rng.standard_normal((resamples, len(total))) @ spread.T

    def _figures(self, block: Codes) -> Floats:
        """Return the wins of each pair and the mean of each generator, (block, pairs + count)."""
        return np.concatenate([self._wins(block), self.means[block]], axis=1)

    def _blocks(self) -> Iterator[Codes]:
        """Yield blocks of indices into `prompts`, ordered by number of samples."""
        most = self.sizes.max(axis=1)
        order = np.argsort(most, kind="stable")
        pairs = self.count * (self.count - 1) // 2
        start = 0
        while start < len(order):
            # The last prompt has the most samples: halve the block until that many fit.
            size, limit = min(len(order) - start, BLOCK_PROMPTS), BLOCK_COMPARISONS // pairs
            while size > 1 and size * int(most[order[start + size - 1]]) > limit:
                size //= 2
            yield order[start : start + size]
            start += size

    @cached_property
    def _starts(self) -> NDArray[np.int64]:
        """The first sample of each prompt, (prompts,)."""
        sizes = self.sizes.sum(axis=1)
        starts: NDArray[np.int64] = np.cumsum(sizes) - sizes
        return starts

    def win_blocks(self) -> Iterator[tuple[Floats, Floats]]:
        """Yield the shares of wins of blocks of prompts, and their variances over samples.

        Both are (block, pairs). The variance is estimated without bias from the analysis of
        variance of the comparisons by both samples; NaN where a generator has one sample.
        """
        for block in self._blocks():
            wins = self._wins(block)
            yield wins, self._variances(block, wins)

    def _variances(self, block: Codes, wins: Floats) -> Floats:
        sizes, mu = self._samples(block)
        first, second = np.triu_indices(self.count, 1)
        ours, our_squares = _spread_of_rows(mu, sizes, first, second, wins)
        theirs, _ = _spread_of_rows(mu, sizes, second, first, 1 - wins)
        m, n = sizes[:, first], sizes[:, second]
        with np.errstate(invalid="ignore", divide="ignore"):
            rest = our_squares - m * n * wins**2 - n * ours - m * theirs
            error = rest / ((m - 1) * (n - 1))
            found: Floats = ours / (m - 1) / m + theirs / (n - 1) / n - error / (m * n)
        return found

    def _samples(self, block: Codes) -> tuple[NDArray[np.int64], Floats]:
        """Return the numbers of samples, (block, generators), and the samples, NaN if missing."""
        sizes = self.sizes[block].astype(np.int64)
        firsts = self._starts[block, None] + np.cumsum(sizes, axis=1) - sizes
        sample = np.arange(sizes.max())
        missing = sample >= sizes[..., None]
        # NaN stands for a missing sample, which neither wins nor ties.
        mu = np.where(missing, np.nan, self.mu[np.where(missing, 0, firsts[..., None] + sample)])
        return sizes, mu

    def _wins(self, block: Codes) -> Floats:
        """Return the share of comparisons that the first of each pair wins, (block, pairs)."""
        sizes, mu = self._samples(block)
        first, second = np.triu_indices(self.count, 1)
        theirs = mu[:, second]
        doubled = np.zeros(theirs.shape[:2])
        for nth in range(mu.shape[2]):
            ours = mu[:, first, nth, None]
            doubled += (ours > theirs).sum(axis=-1)
            doubled += (ours >= theirs).sum(axis=-1)
        wins: Floats = doubled / (2 * sizes[:, first] * sizes[:, second])
        return wins


def _spread_of_rows(
    mu: Floats, sizes: NDArray[np.int64], ours: Codes, theirs: Codes, wins: Floats
) -> tuple[Floats, Floats]:
    """Return the sum over our samples of the squared distance of the share that each wins from the
    mean `wins`, and the sum over comparisons of squared results; each (block, pairs)."""
    spread, squares = np.zeros(wins.shape), np.zeros(wins.shape)
    other = mu[:, theirs]
    for nth in range(mu.shape[2]):
        own = mu[:, ours, nth, None]
        won, held = (own > other).sum(axis=-1), (own >= other).sum(axis=-1)
        there = ~np.isnan(own[..., 0])
        spread += there * ((won + held) / 2 / sizes[:, theirs] - wins) ** 2
        squares += won + (held - won) / 4
    return spread, squares


def share(scored: Scored, count: int) -> Shared:
    """Return the scores under prompts that all `count` generators have; may be empty."""
    times, of_each = _presence(scored, count)
    is_shared = times == count
    shared = np.flatnonzero(is_shared)
    rows = is_shared[scored.prompt]
    cells = _cells(scored, is_shared, rows, count)
    mu, mean = scored.mu[rows], scored.mean[rows]
    # Its codes are not needed any more, and take memory.
    del scored
    sizes = np.bincount(cells, minlength=len(shared) * count).astype(np.int32)
    mu = _sorted_within(cells, mu)
    # Sorted too, so that sums do not depend on the order of rows.
    mean = _sorted_within(cells, mean)
    means = np.zeros(len(sizes))
    if len(sizes):
        starts = np.cumsum(sizes, dtype=np.int64)
        starts -= sizes
        means = np.add.reduceat(mean, starts, dtype=np.float64)
        means /= sizes
    unshared = of_each - len(shared)
    return Shared(mu, sizes.reshape(-1, count), means.reshape(-1, count), shared, unshared, count)


def _presence(scored: Scored, count: int) -> tuple[Codes, Codes]:
    """Return the number of generators of each prompt, and the number of prompts of each."""
    prompts = int(scored.prompt.max(initial=-1)) + 1
    if prompts * count > MAX_COUNTED_CELLS:
        cells = np.unique(scored.prompt.astype(np.int64) * count + scored.generator)
        return np.bincount(cells // count), np.bincount(cells % count, minlength=count)
    has_score = np.zeros((prompts, count), dtype=bool)
    for part in _blocks_of(scored.prompt):
        has_score[scored.prompt[part], scored.generator[part]] = True
    return has_score.sum(axis=1), has_score.sum(axis=0)


def _cells(scored: Scored, is_shared: Mask, rows: Mask, count: int) -> NDArray[np.uint32]:
    """Return the number of each row's pair of shared prompt and generator; `rows`: those rows."""
    firsts = np.cumsum(is_shared, dtype=np.int64) * count - count
    # There are no more pairs than rows, so that 32 bits suffice.
    cells = np.empty(int(rows.sum()), dtype=np.uint32)
    at = 0
    for part in _blocks_of(rows):
        kept = rows[part]
        found = firsts[scored.prompt[part][kept]] + scored.generator[part][kept]
        cells[at : at + len(found)] = found
        at += len(found)
    return cells


def _blocks_of(rows: NDArray[Any]) -> Iterator[slice]:
    for start in range(0, len(rows), BLOCK_ROWS):
        yield slice(start, start + BLOCK_ROWS)


def _sorted_within(cells: NDArray[np.uint32], values: Floats) -> Floats:
    """Return the values sorted by cell and value."""
    if values.dtype != np.float32:
        return values[np.lexsort((values, cells))]
    # In one word, which sorts in place: the cell, then the value's bits so that they sort as it.
    keys = cells.astype(np.uint64)
    keys <<= np.uint64(32)
    for part in _blocks_of(values):
        bits = values[part].view(np.uint32)
        keys[part] |= np.where(bits >> 31, ~bits, bits | SIGN)
    keys.sort()
    found: Floats = np.empty_like(values)
    for part in _blocks_of(values):
        bits = keys[part].astype(np.uint32)
        found[part] = np.where(bits >> 31, bits ^ SIGN, ~bits).view(np.float32)
    return found
