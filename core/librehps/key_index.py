"""Indexes of hashes: a map to numbers takes 19 to 23 bytes of memory a key, a set 11 to 15.

New keys are in a dict, and move from there into sorted runs, which are merged as they grow: memory
beyond the caches of a processor is read and written in its order.
"""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Collection, Iterable, Sequence
from itertools import repeat
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]
Numbers = NDArray[np.int64]
Key = TypeVar("Key", bytes, int)

KEY_BYTES = 16
MAX_NUMBER = 2**32 - 1
# Keys that leave the dict at once.
RECENT_KEYS = 16_384
# Rows that are compared at once: at least twice as many as begin with the same bits on average.
LOOK_ROWS = 16
# Rows of a run that are merged at once.
BLOCK_ROWS = 65_536
# The filter has a word for this many rows or fewer: it is doubled.
WORD_ROWS = 3
MIN_FILTER_BITS = 12
# Patterns of bits, which rows set in their words of the filter.
PATTERN_BITS, PATTERNS = 6, 8192
_NUMBER = np.uint64(MAX_NUMBER)
_LOOK = np.arange(LOOK_ROWS, dtype=np.uint32)
_LAST_PATTERN = np.uint64(PATTERNS - 1)
_CHOSEN = np.random.default_rng(0).integers(0, 64, (PATTERNS, PATTERN_BITS), np.uint64)
_PATTERNS: Words = np.bitwise_or.reduce(np.uint64(1) << _CHOSEN, axis=1)


class _Run:
    """Rows of words, in the order of their first words."""

    def __init__(self, rows: Words) -> None:
        self.rows = rows
        bits = max((2 * len(rows) // LOOK_ROWS).bit_length(), 1)
        self._shift = np.uint64(64 - bits)
        # Where the rows begin whose first words begin with the same bits.
        firsts = np.arange(1 << bits, dtype=np.uint64) << self._shift
        self._starts = np.append(rows[:, 0].searchsorted(firsts), len(rows)).astype(np.uint32)

    def __len__(self) -> int:
        return len(self.rows)

    def find(self, rows: Words, tolerance: np.uint64) -> tuple[Numbers, Words]:
        """Return the places of those rows that are here, and the rows here.

        Rows are equal if their first words are, and their last words differ by at most `tolerance`.
        """
        bits = (rows[:, 0] >> self._shift).view(np.int64)
        left, at, end = np.arange(len(rows)), self._starts[bits], self._starts[bits + 1]
        places, found = [left[:0]], [rows[:0]]
        while left.size:
            slots = at[:, None] + _LOOK
            first = self.rows.take(slots, axis=0, mode="clip")[:, :, 0]
            row, column = np.nonzero(first == rows[left, :1])
            if row.size:
                slot = slots[row, column]
                there = self.rows.take(slot, axis=0, mode="clip")
                is_same = there[:, -1] ^ rows[left[row], -1] <= tolerance
                is_same &= slot < len(self.rows)
                places.append(left[row[is_same]])
                found.append(there[is_same])
            at = at + np.uint32(LOOK_ROWS)
            is_left = at < end
            left, at, end = left[is_left], at[is_left], end[is_left]
        return np.concatenate(places), np.concatenate(found)


class _HashIndex(ABC, Generic[Key]):
    """Hashes, in memory as rows of words; several threads may look keys up at a time."""

    # Two rows are of one key if their first words are equal, and their last words differ by at most
    # this.
    tolerance: np.uint64

    def __init__(self) -> None:
        self._recent: dict[Key, int] = {}
        # A row is in one run only; the oldest rows come first.
        self._runs: list[_Run] = []
        # The number of rows in the runs.
        self._count = 0
        # Bits that tell of nearly every new key that it is in no run. The first bits of a row
        # choose its word.
        self._filter_bits = MIN_FILTER_BITS
        self._filter: Words = np.zeros(1 << MIN_FILTER_BITS, np.uint64)

    @abstractmethod
    def _rows(self, keys: Collection[Key]) -> Words:
        """Return a row of words for each key."""

    def __len__(self) -> int:
        return self._count + len(self._recent) - len(self._stored(self._rows(self._recent))[0])

    def find(self, keys: Collection[Key]) -> Numbers:
        """Return the number of each key, -1 for a key that is not in the index."""
        found = np.full(len(keys), -1, np.int64)
        places, numbers = self.hits(keys)
        found[places] = numbers
        return found

    def hits(self, keys: Collection[Key]) -> tuple[Numbers, Numbers]:
        """Return the places of the keys that are in the index, and their numbers."""
        places, rows = self._stored(self._rows(keys))
        is_new = self._recent.keys().isdisjoint(keys)
        if is_new and not places.size:
            return places, places
        found = np.full(len(keys), -1, np.int64)
        if not is_new:
            found[:] = list(map(self._recent.get, keys, repeat(-1)))
        found[places] = rows[:, -1] & _NUMBER
        places = np.flatnonzero(found >= 0)
        return places, found[places]

    def _add(self, keys: Iterable[Key], numbers: Iterable[int]) -> None:
        # A key that is in the dict keeps its number.
        deque(map(self._recent.setdefault, keys, numbers), maxlen=0)
        if len(self._recent) >= RECENT_KEYS:
            self._store()

    def _store(self) -> None:
        """Move the recent keys into a run."""
        rows = self._rows(self._recent)
        if rows.shape[1] > 1:
            numbers = np.fromiter(self._recent.values(), np.uint64, len(rows))
            rows = np.column_stack((rows[:, 0], rows[:, 1] & ~_NUMBER | numbers))
        self._recent.clear()
        # A key that is in a run keeps its number.
        rows = _ordered(np.delete(rows, self._stored(rows)[0], axis=0))
        if not rows.size:
            return
        self._runs.append(_Run(rows))
        self._count += len(rows)
        if self._count > len(self._filter) * WORD_ROWS:
            self._filter_bits = (self._count // WORD_ROWS).bit_length()
            self._filter = np.zeros(1 << self._filter_bits, np.uint64)
            for run in self._runs:
                self._note(run.rows)
        else:
            self._note(rows)
        self._merge()

    def _merge(self) -> None:
        """Merge a run with all runs after it, if these have as many rows."""
        after = np.cumsum([0, *map(len, reversed(self._runs))])[-2::-1]
        for at, run in enumerate(self._runs):
            if len(run) <= after[at]:
                rows = _merged([run.rows for run in self._runs[at:]])
                self._runs[at:] = [_Run(rows)]
                return

    def _stored(self, rows: Words) -> tuple[Numbers, Words]:
        """Return the places of the rows whose keys are in the runs, and the rows there."""
        words, bits = self._bits(rows[:, 0])
        left = np.flatnonzero(self._filter[words] & bits == bits)
        if not left.size:
            return left, rows[:0]
        places, found = [left[:0]], [rows[:0]]
        for run in self._runs:
            at, there = run.find(rows[left], self.tolerance)
            if at.size:
                places.append(left[at])
                found.append(there)
                left = np.delete(left, at)
        return np.concatenate(places), np.concatenate(found)

    def _note(self, rows: Words) -> None:
        """Set the bits of rows, which are in their order, in the filter."""
        for start in range(0, len(rows), BLOCK_ROWS):
            words, bits = self._bits(rows[start : start + BLOCK_ROWS, 0])
            starts = np.flatnonzero(np.append(True, words[1:] != words[:-1]))
            self._filter[words[starts]] |= np.bitwise_or.reduceat(bits, starts)

    def _bits(self, first: Words) -> tuple[Numbers, Words]:
        """Return the word of the filter of each row, by its first word, and the row's bits there.

        The words of the filter are in the order of the rows.
        """
        words: Words = first >> np.uint64(64 - self._filter_bits)
        return words.view(np.int64), _PATTERNS[(first & _LAST_PATTERN).view(np.int64)]


class KeyIndex(_HashIndex[bytes]):
    """A map from keys of 16 bytes to numbers up to `MAX_NUMBER`.

    96 bits of a key are compared: among a billion keys two are confused with probability 1e-11.
    """

    # The number is half of the second word.
    tolerance = _NUMBER

    def add(self, keys: Iterable[bytes], numbers: Numbers) -> None:
        """Add keys with their numbers; a key that is in the index keeps its number."""
        self._add(keys, numbers.tolist())

    def _rows(self, keys: Collection[bytes]) -> Words:
        return np.frombuffer(b"".join(keys), np.uint64).reshape(-1, 2)


class HashSet(_HashIndex[int]):
    """A set of hashes of 64 bits, as Python's `hash` makes them."""

    tolerance = np.uint64(0)

    def add(self, hashes: Iterable[int]) -> None:
        """Add hashes."""
        self._add(hashes, repeat(0))

    def has(self, key: int) -> bool:
        """Return whether one hash was added."""
        if key in self._recent:
            return True
        # As `_bits` does, without arrays.
        first = key % 2**64
        word = int(self._filter[first >> 64 - self._filter_bits])
        bits = int(_PATTERNS[first % PATTERNS])
        return word & bits == bits and len(self.hits([key])[0]) > 0

    def _rows(self, keys: Collection[int]) -> Words:
        return np.fromiter(keys, np.int64, len(keys)).view(np.uint64)[:, None]


def _ordered(rows: Words) -> Words:
    return rows.take(np.argsort(rows[:, 0], kind="stable"), axis=0)


def _merged(runs: Sequence[Words]) -> Words:
    """Return the rows of runs as one run; the memory of the runs is freed meanwhile."""
    end = sum(map(len, runs))
    merged = np.empty((end, runs[0].shape[1]), np.uint64)
    while end:
        largest = max(runs, key=len)
        low = largest[max(len(largest) - BLOCK_ROWS, 0), 0]
        starts = [int(run[:, 0].searchsorted(low)) for run in runs]
        block = np.concatenate([run[at:] for run, at in zip(runs, starts, strict=True)])
        for run, at in zip(runs, starts, strict=True):
            run.resize((at, run.shape[1]), refcheck=False)
        end -= len(block)
        merged[end : end + len(block)] = _ordered(block)
    return merged
