"""Scores of several generators under the prompts that all generators have."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from librehps.decide.bootstrap import draws
from librehps.decide.bradley_terry import Floats, Sums

Codes = NDArray[np.int64]
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
        cells = self._places * self.count + self.scored.generator
        return np.bincount(cells, minlength=len(self.prompts) * self.count).reshape(-1, self.count)

    @cached_property
    def means(self) -> Floats:
        """The mean over samples, (prompts, generators)."""
        cells = self._places * self.count + self.scored.generator
        sums = np.bincount(cells, self.scored.mean, len(self.prompts) * self.count)
        means: Floats = sums.reshape(-1, self.count) / self.sizes
        return means

    @property
    def _places(self) -> Codes:
        return np.searchsorted(self.prompts, self.scored.prompt)

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
        total = np.zeros((resamples, pairs + self.count))
        blocks = list(self._blocks())
        for block, times in zip(
            blocks, draws([len(block) for block in blocks], resamples, seed), strict=True
        ):
            figures = np.concatenate([self._wins(block), self.means[block]], axis=1)
            total += times @ figures.astype(np.float32)
        return Sums(total[:, :pairs], total[:, pairs:], len(self.prompts))

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
        sizes = self.sizes[block]
        ends = np.cumsum(self.sizes.ravel()).reshape(self.sizes.shape)[block]
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
    cells = np.unique(scored.prompt * count + scored.generator)
    prompts, generators = np.unique(cells // count, return_counts=True)
    shared = prompts[generators == count]
    kept = scored.where(np.isin(scored.prompt, shared))
    # Sorted by all values, so that sums do not depend on the order of rows.
    order = np.lexsort((kept.mean, kept.mu, kept.generator, kept.prompt))
    unshared: Codes = np.bincount(cells % count, minlength=count) - np.int64(len(shared))
    return Shared(kept.where(order), shared, unshared, count)
