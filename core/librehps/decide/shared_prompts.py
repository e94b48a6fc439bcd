"""Scores of several generators under the prompts that all of them have."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from librehps.decide.bootstrap import draws
from librehps.decide.bradley_terry import Floats, Sums

Codes = NDArray[np.int64]
# Comparisons of samples held at a time, and prompts whose draws are.
AT_ONCE, PROMPTS_AT_ONCE = 4_000_000, 1024


@dataclass(frozen=True)
class Scored:
    """Rows with a score: numbers of their prompt and generator, `mu` and `mean`; all (rows,)."""

    prompt: Codes
    generator: Codes
    mu: Floats
    mean: Floats

    def where(self, chosen: NDArray[np.bool_] | Codes) -> "Scored":
        """The rows of a mask, or of places, in their order."""
        return Scored(
            self.prompt[chosen], self.generator[chosen], self.mu[chosen], self.mean[chosen]
        )


@dataclass(frozen=True)
class Shared:
    """Scores under shared prompts, sorted by prompt and generator; `count` generators.

    `prompts` numbers them as the rows do, `unshared` counts what each generator has beside them.
    """

    scored: Scored
    prompts: Codes
    unshared: Codes
    count: int

    @cached_property
    def sizes(self) -> Codes:
        """Samples of each generator under each prompt, (prompts, generators), at least 1."""
        cells = self._places * self.count + self.scored.generator
        return np.bincount(cells, minlength=len(self.prompts) * self.count).reshape(-1, self.count)

    @cached_property
    def means(self) -> Floats:
        """Mean over samples, (prompts, generators)."""
        cells = self._places * self.count + self.scored.generator
        sums = np.bincount(cells, self.scored.mean, len(self.prompts) * self.count)
        means: Floats = sums.reshape(-1, self.count) / self.sizes
        return means

    @property
    def _places(self) -> Codes:
        return np.searchsorted(self.prompts, self.scored.prompt)

    def among(self, prompts: Codes) -> "Shared":
        """Those under some of the prompts; the numbers of them are sorted."""
        kept = np.intersect1d(self.prompts, prompts)
        rows = np.isin(self.scored.prompt, kept)
        return Shared(self.scored.where(rows), kept, self.unshared, self.count)

    def sums(self) -> Sums:
        """Over all prompts."""
        parts = [(self._wins(block).sum(axis=0), self.means[block].sum(axis=0))
                 for block in self._blocks()]  # fmt: skip
        wins, means = (np.sum(part, axis=0) for part in zip(*parts, strict=True))
        return Sums(wins, means, len(self.prompts))

    def resampled(self, resamples: int, seed: int) -> Sums:
        """Over as many prompts drawn anew, for each resample.

        One draw serves every generator, so that differences between them are paired.
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
        """Places of prompts, a part at a time; those of as many samples stand together."""
        most = self.sizes.max(axis=1)
        order = np.argsort(most, kind="stable")
        pairs = self.count * (self.count - 1) // 2
        start = 0
        while start < len(order):
            # The last of a block has the most samples: halve until even that many fit.
            size = min(len(order) - start, PROMPTS_AT_ONCE)
            while size > 1 and size * pairs * int(most[order[start + size - 1]]) > AT_ONCE:
                size //= 2
            yield order[start : start + size]
            start += size

    def _wins(self, block: Codes) -> Floats:
        """Share of sample pairs that the first generator of each pair wins, (block, pairs)."""
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
            # NaN, where there is no such sample, neither wins nor ties.
            ours = mu[:, first, nth, None]
            doubled += (ours > theirs).sum(axis=-1)
            doubled += (ours >= theirs).sum(axis=-1)
        wins: Floats = doubled / (2 * sizes[:, first] * sizes[:, second])
        return wins


def share(scored: Scored, count: int) -> Shared:
    """The scores under prompts that all `count` generators have; there may be none."""
    cells = np.unique(scored.prompt * count + scored.generator)
    prompts, generators = np.unique(cells // count, return_counts=True)
    shared = prompts[generators == count]
    kept = scored.where(np.isin(scored.prompt, shared))
    # Sorted to the last figure, so that sums do not depend on the order of rows.
    order = np.lexsort((kept.mean, kept.mu, kept.generator, kept.prompt))
    unshared: Codes = np.bincount(cells % count, minlength=count) - np.int64(len(shared))
    return Shared(kept.where(order), shared, unshared, count)
