"""A set of 64-bit hashes in one array: 11 to 16 bytes of memory a hash."""

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]
Indices = NDArray[np.int64]

BUCKET_SLOTS = 8
MIN_BUCKETS = 512
MAX_LOAD = 0.75
GROWTH = 1.5
# Buckets whose hashes are moved at once.
GROW_BUCKETS = 8192
# The higher half of a hash chooses its bucket.
HALF_BITS = 32


class HashTable:
    """The hashes added so far; many are looked up and added at a time. 0 is no hash."""

    def __init__(self) -> None:
        self._count = 0
        # A bucket is filled from its first slot on; a hash whose bucket is full is in the next one.
        # The order of buckets is that of the hashes, so that the table grows from one end to the
        # other, and within its own memory.
        self._slots: Hashes = np.zeros((MIN_BUCKETS, BUCKET_SLOTS), np.uint64)

    def has(self, key: int) -> bool:
        """Return whether one hash was added."""
        at = (key >> HALF_BITS) * len(self._slots) >> HALF_BITS
        while True:
            bucket = self._slots[at].tolist()
            if key in bucket or not bucket[-1]:
                return key in bucket
            at = (at + 1) % len(self._slots)

    def add(self, keys: Hashes) -> NDArray[np.bool_]:
        """Add hashes; return which of them were added before, or are repeated in `keys`."""
        while self._count + len(keys) > MAX_LOAD * self._slots.size:
            self._grow()
        order = np.argsort(keys)
        ordered, is_known = keys[order], np.zeros(len(keys), bool)
        is_known[1:] = ordered[1:] == ordered[:-1]
        firsts = np.flatnonzero(~is_known)
        is_known[:-1] |= is_known[1:]
        known = self._insert(ordered[firsts])
        is_known[firsts[known]] = True
        self._count += len(firsts) - len(known)
        found = np.empty(len(keys), bool)
        found[order] = is_known
        return found

    def _insert(self, keys: Hashes) -> Indices:
        """Add distinct hashes, which are sorted; return the indices of those added before."""
        known, left, homes, step = list[Indices](), np.arange(len(keys)), self._homes(keys), 0
        while left.size:
            buckets = (homes + step) % len(self._slots)
            slots = self._slots.take(buckets, axis=0)
            is_here = slots == keys[left, None]
            if is_here.any():
                is_known = is_here.any(1)
                known.append(left[is_known])
                left, homes = left[~is_known], homes[~is_known]
                continue
            used = np.bitwise_count((slots != 0).view(np.uint64))[:, 0]
            # Hashes in the same bucket have the same home, and follow each other.
            places = used + np.arange(left.size) - np.searchsorted(homes, homes)
            has_room = places < BUCKET_SLOTS
            self._slots[buckets[has_room], places[has_room]] = keys[left[has_room]]
            left, homes, step = left[~has_room], homes[~has_room], step + 1
        return np.concatenate([np.empty(0, np.int64), *known])

    def _grow(self) -> None:
        before = len(self._slots)
        # No view of the array is left: its memory may move.
        self._slots.resize((int(before * GROWTH), BUCKET_SLOTS), refcheck=False)
        end, late, keys = len(self._slots), list[Hashes](), np.empty(0, np.uint64)
        for start in reversed(range(0, before, GROW_BUCKETS)):
            block = self._slots[start : min(start + GROW_BUCKETS, before)]
            keys = np.sort(np.concatenate([keys, block[block != 0]]))
            block[:] = 0
            # Only the buckets from `start` on are in the new order.
            first = int(np.searchsorted(self._homes(keys), start))
            end, left = self._move(keys[first:], end)
            late.append(left)
            keys = keys[:first]
        for left in late:
            self._insert(left)

    def _move(self, keys: Hashes, end: int) -> tuple[int, Hashes]:
        """Place hashes, in their order, before the bucket `end`, where all is free.

        Return the first bucket that is not free after that, and the hashes that have no room.
        """
        if not keys.size:
            return end, keys
        homes, count = self._homes(keys), np.arange(len(keys))
        # Each hash is in the first slot of its bucket, or behind the hash before it.
        places = np.maximum.accumulate(homes * BUCKET_SLOTS - count) + count
        fit = int(np.searchsorted(places, end * BUCKET_SLOTS))
        self._slots.reshape(-1)[places[:fit]] = keys[:fit]
        # The hashes that went on at the start of the table have the last buckets.
        return min(end, int(homes[0])), keys[fit:]

    def _homes(self, keys: Hashes) -> Indices:
        """Return the bucket in which each hash is, unless that is full."""
        high = keys >> np.uint64(HALF_BITS)
        return ((high * np.uint64(len(self._slots))) >> np.uint64(HALF_BITS)).astype(np.int64)
