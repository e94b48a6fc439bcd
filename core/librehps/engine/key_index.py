"""16-byte keys of scores, and a hash table of them: 23 to 32 bytes of memory an entry."""

from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]
Numbers = NDArray[np.int64]
# Of 16 bytes, which numpy copies at once: the first word of a key, and half of its second word
# above a number of 32 bits.
Entries = NDArray[np.void]

KEY_BYTES = 16
BUCKET_SLOTS = 8
MIN_BUCKETS = 512
MAX_LOAD = 0.8
GROWTH = 1.4
# Buckets whose keys are moved at once.
GROW_BUCKETS = 8192
_EMPTY = blake2b(digest_size=KEY_BYTES)
MAX_NUMBER = 2**32 - 1
_NUMBER, _HALF = np.uint64(MAX_NUMBER), np.uint64(32)
# Words of the filter for each bucket, and the patterns of bits that keys set in them.
FILTER_WORDS, FILTER_BITS, PATTERNS = 2, 5, 8192
_LAST_PATTERN = np.uint64(PATTERNS - 1)
_CHOSEN = np.random.default_rng(0).integers(0, 64, (PATTERNS, FILTER_BITS), np.uint64)
_PATTERNS: Words = np.bitwise_or.reduce(np.uint64(1) << _CHOSEN, axis=1)


def content_key(kind: str, sha256: str, prompt: str | None, settings: str | None = None) -> bytes:
    """Return the cache key of media with this hash, scored as `kind` under the prompt.

    `settings`: the digest of the settings, for a cache that models share.
    """
    text = f"{kind}\0{sha256}\0{prompt or ''}"
    if settings is not None:
        text = f"{settings}\0{text}"
    # A copy is made faster than a new one.
    digest = _EMPTY.copy()
    digest.update(text.encode())
    return digest.digest()


class KeyIndex:
    """A map from keys to numbers up to `MAX_NUMBER`; a key that is added again keeps its number.

    96 bits of a key are compared: among a billion keys two are confused with probability 1e-11.
    """

    def __init__(self) -> None:
        self._count = 0
        # A bucket is filled from its first slot on; a key whose bucket is full is in the next one.
        # The order of buckets is that of the keys, so that the table grows from one end to the
        # other, and within its own memory.
        self._slots: Entries = np.zeros(MIN_BUCKETS * BUCKET_SLOTS, f"V{KEY_BYTES}")
        self._used: NDArray[np.uint8] = np.zeros(MIN_BUCKETS, np.uint8)
        # Bits that tell of nearly every new key that it is new, in an eighth of the memory.
        self._filter: Words = np.zeros(MIN_BUCKETS * FILTER_WORDS, np.uint64)

    def __len__(self) -> int:
        return self._count

    def find(self, keys: Sequence[bytes]) -> Numbers:
        """Return the number of each key, -1 for a key that is not in the index."""
        found = np.full(len(keys), -1, np.int64)
        places, numbers = self.hits(keys)
        found[places] = numbers
        return found

    def hits(self, keys: Sequence[bytes]) -> tuple[Numbers, Numbers]:
        """Return the places of the keys that are in the index, and their numbers."""
        return self._hits(np.frombuffer(b"".join(keys), np.uint64))

    def add(self, keys: Sequence[bytes], numbers: Numbers) -> None:
        """Add keys with their numbers; a key that is in the index keeps its number."""
        if not len(keys):
            return
        while self._count + len(keys) > MAX_LOAD * len(self._slots):
            self._grow()
        words = np.frombuffer(bytearray().join(keys), np.uint64)
        words[1::2] &= ~_NUMBER
        words[1::2] |= numbers.astype(np.uint64)
        # In the order of the table, where equal keys are neighbours.
        entries = words.view(f"V{KEY_BYTES}")[np.argsort(words[::2])]
        words = entries.view(np.uint64)
        first, second = words[::2], words[1::2]
        is_new = np.append(True, first[1:] != first[:-1])
        is_new[1:] |= second[1:] ^ second[:-1] > _NUMBER
        is_new[self._hits(words)[0]] = False
        entries = entries[is_new]
        self._insert(entries)
        self._note(entries)
        self._count += len(entries)

    def _hits(self, words: Words) -> tuple[Numbers, Numbers]:
        """Return the places of the keys that are in the index, each of two words; their numbers."""
        places, bits = self._bits(words[::2])
        at = np.flatnonzero(self._filter[places] & bits == bits)
        if not at.size:
            return at, at
        keys, buckets = words.reshape(-1, 2)[at], places[at] // FILTER_WORDS
        numbers, left = np.full(at.size, -1), np.arange(at.size)
        while left.size:
            slots = self._slots.view(np.uint64).reshape(-1, BUCKET_SLOTS, 2)[buckets]
            is_same = slots[:, :, 0] == keys[left, :1]
            is_same &= slots[:, :, 1] ^ keys[left, 1:] <= _NUMBER
            is_same &= np.arange(BUCKET_SLOTS) < self._used[buckets, None]
            row, slot = np.nonzero(is_same)
            numbers[left[row]] = slots[row, slot, 1] & _NUMBER
            is_next = (self._used[buckets] == BUCKET_SLOTS) & (numbers[left] < 0)
            left, buckets = left[is_next], self._after(buckets[is_next])
        return at[numbers >= 0], numbers[numbers >= 0]

    def _insert(self, entries: Entries) -> None:
        """Insert entries in the order of their keys, of which none is in the table."""
        buckets = self._homes(entries)
        while len(entries):
            places = np.arange(len(entries))
            starts = np.where(np.append(True, buckets[1:] != buckets[:-1]), places, 0)
            slots = self._used[buckets] + places - np.maximum.accumulate(starts)
            is_in = slots < BUCKET_SLOTS
            at, slot = buckets[is_in], slots[is_in]
            self._slots[at * BUCKET_SLOTS + slot] = entries[is_in]
            # Of several slots of a bucket the last stays.
            self._used[at] = slot + 1
            entries, buckets = entries[~is_in], self._after(buckets[~is_in])

    def _note(self, entries: Entries) -> None:
        """Set the bits of entries in the filter; the entries are in the order of their words."""
        if not len(entries):
            return
        words, bits = self._bits(_first(entries))
        starts = np.flatnonzero(np.append(True, words[1:] != words[:-1]))
        self._filter[words[starts]] |= np.bitwise_or.reduceat(bits, starts)

    def _grow(self) -> None:
        before = len(self._used)
        size = int(before * GROWTH)
        # No view of the array is left: its memory may move.
        self._slots.resize(size * BUCKET_SLOTS, refcheck=False)
        used, self._used = self._used, np.zeros(size, np.uint8)
        self._filter = np.zeros(size * FILTER_WORDS, np.uint64)
        end, late = len(self._slots), list[Entries]()
        entries = self._slots[:0]
        for start in reversed(range(0, before, GROW_BUCKETS)):
            stop = min(start + GROW_BUCKETS, before)
            block = self._slots[start * BUCKET_SLOTS : stop * BUCKET_SLOTS]
            is_used = np.arange(BUCKET_SLOTS) < used[start:stop, None]
            entries = np.concatenate([entries, block[is_used.ravel()]])
            # Only the buckets from `start` on are in the new order.
            words, _ = self._bits(_first(entries))
            is_here = words >= start * FILTER_WORDS
            end, left = self._move(entries[is_here], words[is_here], end)
            late.append(left)
            entries = entries[~is_here]
        for left in late:
            self._insert(left)

    def _move(self, entries: Entries, words: Numbers, end: int) -> tuple[int, Entries]:
        """Place entries, which have these words of the filter, in the slots before `end`.

        All these slots are free. Return the first slot that is not free after that, and the entries
        that have no room.
        """
        if not len(entries):
            return end, entries
        # Numbers of 16 bits are sorted much faster.
        near = words - words.min()
        order = np.argsort(near.astype(np.min_scalar_type(near.max())), kind="stable")
        entries, homes = entries[order], words[order] // FILTER_WORDS
        self._note(entries)
        count = np.arange(len(entries))
        # Each entry is in the first slot of its bucket, or behind the entry before it.
        places = np.maximum.accumulate(homes * BUCKET_SLOTS - count) + count
        fit = int(np.searchsorted(places, end))
        places = places[:fit]
        self._slots[places] = entries[:fit]
        # The places ascend, so that the last of each bucket stays.
        self._used[places // BUCKET_SLOTS] = places % BUCKET_SLOTS + 1
        # The keys that went on at the start of the table have the last buckets.
        return min(end, int(homes[0]) * BUCKET_SLOTS), entries[fit:]

    def _homes(self, entries: Entries) -> Numbers:
        """Return the bucket in which each key is, unless that is full."""
        return self._bits(_first(entries))[0] // FILTER_WORDS

    def _after(self, buckets: Numbers) -> Numbers:
        return (buckets + 1) % len(self._used)

    def _bits(self, first: Words) -> tuple[Numbers, Words]:
        """Return the place in the filter of the word of each key, and the key's bits there.

        The places are in the order of the keys.
        """
        places: Words = ((first >> _HALF) * np.uint64(len(self._filter))) >> _HALF
        return places.view(np.int64), _PATTERNS[(first & _LAST_PATTERN).view(np.int64)]


def _first(entries: Entries) -> Words:
    return entries.view(np.uint64)[::2]
