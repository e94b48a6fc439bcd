"""16-byte keys of scores, and a hash table in two arrays: 21 to 32 bytes of memory an entry."""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]
Numbers = NDArray[np.int64]

KEY_BYTES = 16
BUCKET_SLOTS = 8
MIN_BUCKETS = 512
MAX_LOAD = 0.75
GROWTH = 1.5
# Buckets whose keys are moved at once.
GROW_BUCKETS = 8192
MAX_NUMBER = 2**32 - 1
_NUMBER = np.uint64(MAX_NUMBER)


def content_key(kind: str, sha256: str, prompt: str | None, settings: str | None = None) -> bytes:
    """Return the cache key of media with this hash, scored as `kind` under the prompt.

    `settings`: the digest of the settings, for a cache that models share.
    """
    scope = "" if settings is None else f"{settings}\0"
    text = f"{scope}{kind}\0{sha256}\0{prompt or ''}"
    return hashlib.blake2b(text.encode(), digest_size=KEY_BYTES).digest()


class KeyIndex:
    """A map from keys to numbers up to `MAX_NUMBER`; a key that is added again keeps its number.

    96 bits of a key are compared: among a billion keys two are confused with probability 1e-11.
    """

    def __init__(self) -> None:
        self._count = 0
        # A bucket is filled from its first slot on; a key whose bucket is full is in the next one.
        # The order of buckets is that of the keys, so that the table grows from one end to the
        # other, and within its own memory.
        self._first: Words = np.zeros((MIN_BUCKETS, BUCKET_SLOTS), np.uint64)
        self._second: Words = np.zeros((MIN_BUCKETS, BUCKET_SLOTS), np.uint64)

    def __len__(self) -> int:
        return self._count

    def find(self, keys: Sequence[bytes]) -> Numbers:
        """Return the number of each key, -1 for a key that is not in the index."""
        first, second = _words(keys)
        found = np.full(len(keys), -1, np.int64)
        left, buckets = np.arange(len(keys)), self._homes(first)
        while left.size:
            slots, number = self._look(buckets, first[left], second[left])
            found[left] = number
            is_next = (number < 0) & (slots[:, -1] != 0)
            left, buckets = left[is_next], self._after(buckets[is_next])
        return found

    def add(self, keys: Sequence[bytes], numbers: Numbers) -> None:
        """Add keys with their numbers; a key that is in the index keeps its number."""
        while self._count + len(keys) > MAX_LOAD * self._first.size:
            self._grow()
        first, second = _words(keys)
        self._insert(first, second | numbers.astype(np.uint64))

    def _look(self, buckets: Numbers, first: Words, second: Words) -> tuple[Words, Numbers]:
        """Return the first words in the buckets, and the number of each key there, else -1."""
        slots = self._first.take(buckets, axis=0)
        numbers = np.full(len(buckets), -1, np.int64)
        row, slot = np.nonzero(slots == first[:, None])
        if row.size:
            there = self._second[buckets[row], slot]
            is_same = (there ^ second[row]) <= _NUMBER
            numbers[row[is_same]] = (there[is_same] & _NUMBER).astype(np.int64)
        return slots, numbers

    def _insert(self, first: Words, second: Words) -> None:
        buckets = self._homes(first)
        while first.size:
            slots, number = self._look(buckets, first, second)
            used = np.count_nonzero(slots, axis=1)
            is_free = (number < 0) & (used < BUCKET_SLOTS)
            # Of several keys for one slot the last wins; the others look at the bucket again.
            at, slot = buckets[is_free], used[is_free]
            self._first[at, slot] = first[is_free]
            self._second[at, slot] = second[is_free]
            self._count += len(np.unique(at * BUCKET_SLOTS + slot))
            buckets = np.where(used < BUCKET_SLOTS, buckets, self._after(buckets))
            is_left = number < 0
            is_left[is_free] = self._second[at, slot] != second[is_free]
            is_left[is_free] |= self._first[at, slot] != first[is_free]
            first, second, buckets = first[is_left], second[is_left], buckets[is_left]

    def _grow(self) -> None:
        before = len(self._first)
        shape = (int(before * GROWTH), BUCKET_SLOTS)
        # No view of the arrays is left: their memory may move.
        self._first.resize(shape, refcheck=False)
        self._second.resize(shape, refcheck=False)
        end, late = len(self._first), list[tuple[Words, Words]]()
        first = second = np.empty(0, np.uint64)
        for start in reversed(range(0, before, GROW_BUCKETS)):
            block = slice(start, min(start + GROW_BUCKETS, before))
            is_used = self._first[block] != 0
            first = np.concatenate([first, self._first[block][is_used]])
            second = np.concatenate([second, self._second[block][is_used]])
            self._first[block] = 0
            # Only the buckets from `start` on are in the new order.
            is_here = self._homes(first) >= start
            end, left = self._move(first[is_here], second[is_here], end)
            late.append(left)
            first, second = first[~is_here], second[~is_here]
        count = self._count
        for left in late:
            self._insert(*left)
        self._count = count

    def _move(self, first: Words, second: Words, end: int) -> tuple[int, tuple[Words, Words]]:
        """Place keys before the bucket `end`, where all is free.

        Return the first bucket that is not free after that, and the keys that have no room.
        """
        order = np.argsort(first)
        first, second = first[order], second[order]
        homes, count = self._homes(first), np.arange(len(first))
        # Each key is in the first slot of its bucket, or behind the key before it.
        places = np.maximum.accumulate(homes * BUCKET_SLOTS - count) + count
        fit = int(np.searchsorted(places, end * BUCKET_SLOTS))
        self._first.reshape(-1)[places[:fit]] = first[:fit]
        self._second.reshape(-1)[places[:fit]] = second[:fit]
        # The keys that went on at the start of the table have the last buckets.
        end = min(end, int(homes[0])) if len(homes) else end
        return end, (first[fit:], second[fit:])

    def _homes(self, first: Words) -> Numbers:
        """Return the bucket in which each key is, unless that is full."""
        high = first >> np.uint64(32)
        return ((high * np.uint64(len(self._first))) >> np.uint64(32)).astype(np.int64)

    def _after(self, buckets: Numbers) -> Numbers:
        return (buckets + 1) % len(self._first)


def _words(keys: Sequence[bytes]) -> tuple[Words, Words]:
    """Return the first 8 bytes of each key, never 0, and 4 more bytes above a free 32 bits."""
    pairs: Any = np.frombuffer(b"".join(keys), np.uint64).reshape(-1, 2)
    return np.maximum(pairs[:, 0], np.uint64(1)), pairs[:, 1] & ~_NUMBER
