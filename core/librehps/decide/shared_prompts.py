"""Scores of several generators under the prompts that all generators have."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from librehps.decide.bootstrap import draws
from librehps.decide.bradley_terry import Floats, Sums

Codes = NDArray[np.integer[Any]]
# Sums over more prompts than these are so close to normal that resamples are drawn as such: the
# skewness of a sum falls with the square root of its terms. Their covariances must fit in memory.
MAX_RESAMPLED_PROMPTS, MAX_NORMAL_FIGURES = 50_000, 2000
MAX_COUNTED_CELLS = 1 << 26
# Limits of a block of prompts, for memory.
BLOCK_COMPARISONS, BLOCK_PROMPTS = 4_000_000, 1024


@dataclass(frozen=True)
class Scored:
    """The rows with a score: codes of prompt and generator, `mu` and `mean`; each (rows,)."""

    prompt: Codes
    generator: Codes
    mu: Floats
    mean: Floats

    def where(self, chosen: NDArray[np.bool_] | Codes) -> "Scored":
        """Return the rows of a mask, or of row numbers, in their order."""
        return Scored(
            self.prompt[chosen], self.generator[chosen], self.mu[chosen], self.mean[chosen]
        )


@dataclass(frozen=True)
class Shared:
    """The scores under shared prompts, sorted by prompt and generator; `count` generators.

    `prompts` are the codes of the shared prompts; `unshared` is the number of other prompts of each
    generator.
    """

    scored: Scored
    prompts: Codes
    unshared: Codes
    count: int

    @cached_property
    def sizes(self) -> Codes:
        """The number of samples per prompt and generator, (prompts, generators), at least 1."""
        sizes = np.bincount(self._cells, minlength=len(self.prompts) * self.count)
        return sizes.astype(np.int32).reshape(-1, self.count)

    @cached_property
    def means(self) -> Floats:
        """The mean over samples, (prompts, generators)."""
        sums = np.bincount(self._cells, self.scored.mean, len(self.prompts) * self.count)
        means: Floats = sums.reshape(-1, self.count) / self.sizes
        return means

    @cached_property
    def _ends(self) -> Codes:
        """The end of the samples of each prompt and generator in `scored`."""
        ends: Codes = np.cumsum(self.sizes.ravel(), dtype=np.int64).reshape(self.sizes.shape)
        return ends

    @property
    def _cells(self) -> Codes:
        """The number of each row's pair of prompt and generator."""
        # Rows are sorted by prompt, and each prompt has some.
        places = np.cumsum(np.diff(self.scored.prompt, prepend=self.scored.prompt[:1]) != 0)
        places *= self.count
        places += self.scored.generator
        return places

    def among(self, prompts: Codes) -> "Shared":
        """Return the scores under some prompts, given as sorted codes."""
        kept = np.intersect1d(self.prompts, prompts)
        rows = np.isin(self.scored.prompt, kept)
        return Shared(self.scored.where(rows), kept, self.unshared, self.count)

    def sums(self) -> Sums:
        """Return wins and means summed over all prompts."""
        parts = [(self._wins(block).sum(axis=0), self.means[block].sum(axis=0))
                 for block in self._blocks()]  # fmt: skip
        wins, means = (np.sum(part, axis=0) for part in zip(*parts, strict=True))
        return Sums(wins, means, len(self.prompts))

    def resampled(self, resamples: int, seed: int) -> Sums:
        """Return wins and means summed over each resample of the prompts.

        A resample is the same for every generator, so that differences are paired.
        """
        pairs = self.count * (self.count - 1) // 2
        is_normal = len(self.prompts) > MAX_RESAMPLED_PROMPTS
        if is_normal and pairs + self.count <= MAX_NORMAL_FIGURES:
            total = self._normal(resamples, seed)
            return Sums(total[:, :pairs], total[:, pairs:], len(self.prompts))
        total = np.zeros((resamples, pairs + self.count))
        blocks = list(self._blocks())
        for block, times in zip(
            blocks, draws([len(block) for block in blocks], resamples, seed), strict=True
        ):
            figures = np.concatenate([self._wins(block), self.means[block]], axis=1)
            total += times @ figures.astype(np.float32)
        return Sums(total[:, :pairs], total[:, pairs:], len(self.prompts))

    def _normal(self, resamples: int, seed: int) -> Floats:
        """Return sums of wins and means drawn from the normal distribution of their resamples."""
        prompts = len(self.prompts)
        total, squares = np.zeros(1), np.zeros(1)
        for block in self._blocks():
            figures = np.concatenate([self._wins(block), self.means[block]], axis=1)
            total, squares = total + figures.sum(axis=0), squares + figures.T @ figures
        variances, directions = np.linalg.eigh(squares - np.outer(total, total) / prompts)
        # Rounding makes a variance of zero negative.
        spread = directions * np.sqrt(np.maximum(variances, 0))
        rng = np.random.default_rng(seed)
        drawn: Floats = total + rng.standard_normal((resamples, len(total))) @ spread.T
        return drawn

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

    def _wins(self, block: Codes) -> Floats:
        """Return the share of comparisons that the first of each pair wins, (block, pairs)."""
        sizes, ends = self.sizes[block].astype(np.int64), self._ends[block]
        sample = np.arange(sizes.max())
        at = (ends - sizes)[..., None] + sample
        missing = sample >= sizes[..., None]
        mu = np.where(missing, np.nan, self.scored.mu[np.where(missing, 0, at)])
        first, second = np.triu_indices(self.count, 1)
        theirs = mu[:, second]
        doubled = np.zeros(theirs.shape[:2])
        for nth in sample:
            # NaN stands for a missing sample, which neither wins nor ties.
            ours = mu[:, first, nth, None]
            doubled += (ours > theirs).sum(axis=-1)
            doubled += (ours >= theirs).sum(axis=-1)
        wins: Floats = doubled / (2 * sizes[:, first] * sizes[:, second])
        return wins


def share(scored: Scored, count: int) -> Shared:
    """Return the scores under prompts that all `count` generators have; may be empty."""
    cells = _cells_with_scores(scored, count)
    times = np.bincount(cells // count)
    shared = np.flatnonzero(times == count)
    unshared = np.bincount(cells % count, minlength=count) - len(shared)
    is_shared = times[scored.prompt] == count
    kept = scored if is_shared.all() else scored.where(is_shared)
    # Sorted by all values, so that sums do not depend on the order of rows.
    order = np.lexsort((kept.mean, kept.mu, kept.generator, kept.prompt))
    return Shared(kept.where(order), shared, unshared, count)


def _cells_with_scores(scored: Scored, count: int) -> NDArray[np.int64]:
    """Return the number of each pair of prompt and generator that has a score, ascending."""
    cells = scored.prompt.astype(np.int64) * count + scored.generator
    total = (int(scored.prompt.max(initial=-1)) + 1) * count
    if total > MAX_COUNTED_CELLS:
        return np.unique(cells)
    has_score = np.zeros(total, dtype=bool)
    has_score[cells] = True
    return np.flatnonzero(has_score)
