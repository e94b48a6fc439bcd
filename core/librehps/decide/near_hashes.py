"""Greedy choice of hashes that are not near a better one, exact, and without comparing all pairs.

A hash is cut into bands of 16 bits. Two hashes that differ in few bits differ in very few in one of
the bands (the pigeonhole principle): only hashes with such a band are compared.
"""

from collections.abc import Iterator
from functools import cache
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from librehps.scores.scored_file import Mask

# Hashes, (n, words): 64 bits in a word.
Words = NDArray[np.uint64]
Indices = NDArray[np.integer]
# A frame has 256 bits.
FRAME_WORDS = 4
BAND_BITS = 16
WORD_BANDS = 64 // BAND_BITS
FRAME_BANDS = FRAME_WORDS * WORD_BANDS
BUCKETS = 1 << BAND_BITS
# Hashes that are compared with all of each other.
BLOCK_ROWS = 1024
# Kept hashes that are in no index yet.
MAX_RECENT = 2048
# Pairs that are compared at once, which limits the memory.
MAX_PAIRS = 1 << 16
# A new index is made when the kept hashes outside of it are this share of it.
GROWTH = 8


def apart(words: Words, limit: int) -> Mask:
    """Return a mask of the hashes, best first, that keeps each one that no better kept one is near.

    Near: at most `limit` bits differ.
    """
    kept = np.zeros(len(words), dtype=bool)
    # The first of equal hashes stands for all of them, at any limit.
    rows = np.sort(np.unique(_as_items(words), return_index=True)[1])
    found = Kept(words.shape[1], limit)
    for at in range(0, len(rows), BLOCK_ROWS):
        some = rows[at : at + BLOCK_ROWS]
        kept[some[found.add(words[some])]] = True
    return kept


def distances(one: Words, two: Words) -> NDArray[np.integer]:
    """Return the number of bits in which hashes differ, along the last axis."""
    total: NDArray[np.integer] = np.bitwise_count(one ^ two).sum(-1, dtype=np.int32)
    return total


class Kept:
    """The hashes that are kept so far, and an index of most of them."""

    def __init__(self, words: int, limit: int) -> None:
        self._limit = limit
        nothing = np.empty((0, words), dtype=np.uint64)
        self._large, self._small = _Index(nothing, limit), _Index(nothing, limit)
        self._recent = nothing

    def add(self, words: Words) -> Mask:
        """Keep the hashes, best first, that are near none that is kept; return a mask of them."""
        is_new = ~(self._large.has_near(words) | self._small.has_near(words))
        is_new[is_new] = ~_near(words[is_new], self._recent, self._limit).any(1)
        rows = np.flatnonzero(is_new)
        near = _near(words[rows], words[rows], self._limit)
        chosen = np.ones(len(rows), dtype=bool)
        for at in np.flatnonzero(np.tril(near, -1).any(1)):
            chosen[at] = not (near[at, :at] & chosen[:at]).any()
        is_new[rows] = chosen
        self._recent = np.concatenate([self._recent, words[is_new]])
        if len(self._recent) > MAX_RECENT:
            self._store()
        return is_new

    def _store(self) -> None:
        words = np.concatenate([self._small.words, self._recent])
        self._recent = self._recent[:0]
        if len(words) * GROWTH < len(self._large.words):
            self._small = _Index(words, self._limit)
        else:
            self._large = _Index(np.concatenate([self._large.words, words]), self._limit)
            self._small = _Index(words[:0], self._limit)


class _Band(NamedTuple):
    """Hashes sorted by one band: bucket k is `order[starts[k] : starts[k + 1]]`.

    `samples` are two other words of the same frame, in this order, where reading is fast.
    """

    order: Indices
    starts: Indices
    samples: tuple[Words, Words]


class _Index:
    """Hashes sorted by each of their bands."""

    def __init__(self, words: Words, limit: int) -> None:
        self.words, self._limit = words, limit
        # If hashes are near, those of one of their frames are.
        self._frame_limit = limit // max(1, words.shape[1] // FRAME_WORDS)
        keys = words.view(np.uint16)
        self._bands = [_band(words, keys, at) for at in range(keys.shape[1]) if len(words)]

    def has_near(self, words: Words) -> Mask:
        """Return for each hash if one of the index is near."""
        found = np.zeros(len(words), dtype=bool)
        for at, band in enumerate(self._bands):
            left = np.flatnonzero(~found)
            probes = masks(_radius(self._frame_limit, at % FRAME_BANDS))
            keys = words.view(np.uint16)[left, at].astype(np.int32)[:, None] ^ probes
            some = [words[left, column] for column in _sampled(at)]
            for rows, places in _ranges(band.starts[keys], band.starts[keys + 1]):
                total = np.zeros(len(rows), dtype=np.uint8)
                for ours, theirs in zip(some, band.samples, strict=True):
                    total += np.bitwise_count(ours.take(rows) ^ theirs.take(places))
                near = np.flatnonzero(total <= self._frame_limit)
                asked, known = left[rows[near]], band.order[places[near]]
                is_near = distances(words[asked], self.words[known]) <= self._limit
                found[asked[is_near]] = True
        return found


def _band(words: Words, keys: NDArray[np.uint16], at: int) -> _Band:
    order = np.argsort(keys[:, at], kind="stable").astype(np.int32)
    starts = np.zeros(BUCKETS + 1, dtype=np.int32)
    np.cumsum(np.bincount(keys[:, at], minlength=BUCKETS), out=starts[1:])
    one, two = (words[order, column] for column in _sampled(at))
    return _Band(order, starts, (one, two))


def _sampled(band: int) -> tuple[int, int]:
    """Return two words of the frame of a band, neither of which holds the band."""
    word = band // WORD_BANDS
    first = word - word % FRAME_WORDS
    return first + (word + 1) % FRAME_WORDS, first + (word + 2) % FRAME_WORDS


def _ranges(starts: Indices, ends: Indices) -> Iterator[tuple[Indices, Indices]]:
    """Yield (row, number) for the numbers from start to end, (rows, probes), some at a time."""
    sizes = (ends - starts).sum(1)
    cuts = np.flatnonzero(np.diff(np.cumsum(sizes) // MAX_PAIRS, prepend=0, append=-1))
    for first, last in zip([0, *cuts[:-1]], cuts, strict=True):
        low = starts[first:last].ravel()
        counts = ends[first:last].ravel() - low
        total = int(counts.sum())
        shift = np.repeat(low - (np.cumsum(counts) - counts), counts)
        which = np.repeat(np.arange(first, last), sizes[first:last])
        yield which, shift + np.arange(total, dtype=np.int32)


@cache
def masks(radius: int) -> NDArray[np.uint16]:
    """Return every band with at most `radius` bits set; none for a negative radius."""
    bits = [1 << bit for bit in range(BAND_BITS)]
    found = [sum(some) for size in range(radius + 1) for some in combinations(bits, size)]
    return np.array(found, dtype=np.uint16)


def _radius(limit: int, band: int) -> int:
    """Return how many bits of a band may differ, so that near frames meet this in some band.

    If more differed in each band of a frame, more than `limit` would in the frame.
    """
    return limit // FRAME_BANDS - (band > limit % FRAME_BANDS)


def _near(one: Words, two: Words, limit: int) -> NDArray[np.bool_]:
    """Return which of (n, m) pairs are near."""
    total = np.zeros((len(one), len(two)), dtype=np.uint16)
    for column in range(one.shape[1]):
        total += np.bitwise_count(one[:, column, None] ^ two[None, :, column])
    near: NDArray[np.bool_] = total <= limit
    return near


def _as_items(words: Words) -> NDArray[np.void]:
    return np.ascontiguousarray(words).view(f"V{words.shape[1] * 8}").ravel()
