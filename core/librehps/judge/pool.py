"""The media that are paired, as arrays, and the pairs that can be made of them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from librehps.judge.beliefs import Codes, Floats
from librehps.media.named import Found

# All pairs of a smaller pool are compared for each question; of a larger pool, so many at random.
MAX_LISTED_PAIRS, DRAWN_PAIRS = 4096, 2048
Rng = np.random.Generator
# Two items, the lower number first.
PairKey = tuple[int, int]


@dataclass(frozen=True)
class Pool:
    """The items that are paired, by prompt; arrays and lists have an entry for each of n items.

    `prompt` is a code of `prompts` and ascends. `contestant` is a code of `generators`, or the
    item's own number if there are none. `mu` is the model's score in log-odds, 0 without scores.
    `media` are the texts that a file of pairs names, `find` reads an item's media.
    """

    prompts: list[str]
    prompt: Codes
    contestant: Codes
    mu: Floats
    media: list[str]
    find: Callable[[int], Found] = field(repr=False)
    generators: list[str] | None = None
    has_scores: bool = False

    @property
    def can_choose(self) -> bool:
        """True if scores or generators make some pairs more telling than others."""
        return self.has_scores or self.generators is not None

    @cached_property
    def starts(self) -> Codes:
        """The first item of each prompt, and the number of items at the end."""
        return np.searchsorted(self.prompt, np.arange(len(self.prompts) + 1))

    @cached_property
    def size(self) -> int:
        """The number of pairs: two items of a prompt, of two generators if there are any."""
        total = 0
        for first, end in zip(self.starts[:-1], self.starts[1:], strict=True):
            same = np.unique(self.contestant[first:end], return_counts=True)[1]
            total += (int(end - first) ** 2 - int((same**2).sum())) // 2
        return total

    @cached_property
    def items(self) -> dict[tuple[str, str], int]:
        """The number of each item by prompt and media text."""
        texts = (self.prompts[code] for code in self.prompt.tolist())
        return {key: at for at, key in enumerate(zip(texts, self.media, strict=True))}

    @cached_property
    def prior(self) -> Floats:
        """The score of each item's contestant: the mean of a generator, else the item's own.

        Generators are compared under prompts drawn at random: a choice of pictures in which the
        worse generator did well would bias the share of its wins.
        """
        if self.generators is None:
            return self.mu
        counts = np.maximum(1, np.bincount(self.contestant))
        means: Floats = (np.bincount(self.contestant, self.mu) / counts)[self.contestant]
        return means

    def block(self, a: Codes) -> Codes:
        """Return the block of each item: contestants meet only within one."""
        return self.prompt[a] if self.generators is None else np.zeros(len(a), np.int64)

    def generator(self, item: int) -> str | None:
        """Return the generator of an item, None if there are none."""
        return None if self.generators is None else self.generators[self.contestant[item]]

    def candidates(self, rng: Rng) -> tuple[Codes, Codes]:
        """Return pairs in random order: all of a small pool, else some drawn at random."""
        if self.size <= MAX_LISTED_PAIRS:
            a, b = self._listed
            order = rng.permutation(len(a))
            return a[order], b[order]
        return self._drawn(rng)

    @cached_property
    def _listed(self) -> tuple[Codes, Codes]:
        found = []
        for first, end in zip(self.starts[:-1], self.starts[1:], strict=True):
            a, b = np.triu_indices(int(end - first), 1)
            found.append(np.stack([a, b]) + first)
        a, b = np.concatenate(found, axis=1)
        differ = self.contestant[a] != self.contestant[b]
        return a[differ], b[differ]

    def _drawn(self, rng: Rng) -> tuple[Codes, Codes]:
        """Return pairs drawn evenly from all pairs, each once."""
        counts = np.diff(self.starts).astype(float)
        weights = counts**2 / (counts**2).sum()
        prompts = rng.choice(len(counts), size=2 * DRAWN_PAIRS, p=weights)
        sides = self.starts[prompts] + (rng.random((2, len(prompts))) * counts[prompts]).astype(int)
        a, b = np.sort(sides, axis=0)
        differ = self.contestant[a] != self.contestant[b]
        # A pair as one number, which sorts fast.
        codes = np.unique(a[differ] * len(self.media) + b[differ])
        drawn = rng.permutation(codes)[:DRAWN_PAIRS]
        return drawn // len(self.media), drawn % len(self.media)
