"""16-byte keys of scores, and a hash table in two arrays: about 32 bytes of memory an entry."""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]
Numbers = NDArray[np.int64]

KEY_BYTES = 16
MIN_SLOTS = 1 << 12
MAX_LOAD = 0.7
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
        self._clear(MIN_SLOTS)

    def __len__(self) -> int:
        return self._count

    def find(self, keys: Sequence[bytes]) -> Numbers:
        """Return the number of each key, -1 for a key that is not in the index."""
        first, second = _words(keys)
        found = np.full(len(keys), -1, np.int64)
        slots, steps, left = self._start(first), _steps(second), np.arange(len(keys))
        while left.size:
            at = slots[left]
            is_same = (self._first[at] == first[left]) & (
                (self._second[at] ^ second[left]) <= _NUMBER
            )
            found[left[is_same]] = (self._second[at[is_same]] & _NUMBER).astype(np.int64)
            left = left[~is_same & (self._first[at] != 0)]
            slots[left] = (slots[left] + steps[left]) & self._mask
        return found

    def add(self, keys: Sequence[bytes], numbers: Numbers) -> None:
        """Add keys with their numbers; a key that is in the index keeps its number."""
        while self._count + len(keys) > MAX_LOAD * len(self._first):
            self._grow()
        first, second = _words(keys)
        self._insert(first, second | numbers.astype(np.uint64))

    def _insert(self, first: Words, second: Words) -> None:
        slots, steps, left = self._start(first), _steps(second), np.arange(len(first))
        while left.size:
            at = slots[left]
            is_free = self._first[at] == 0
            claimed = at[is_free]
            # Of several keys for one slot the last wins; the others look at the slot again.
            self._first[claimed] = first[left[is_free]]
            self._second[claimed] = second[left[is_free]]
            is_same = (self._first[at] == first[left]) & (
                (self._second[at] ^ second[left]) <= _NUMBER
            )
            self._count += len(np.unique(claimed))
            left = left[~is_same]
            slots[left] = (slots[left] + steps[left]) & self._mask

    def _grow(self) -> None:
        kept = self._first != 0
        first, second = self._first[kept], self._second[kept]
        self._clear(2 * len(self._first))
        self._count = 0
        self._insert(first, second)

    def _clear(self, slots: int) -> None:
        self._first: Words = np.zeros(slots, np.uint64)
        self._second: Words = np.zeros(slots, np.uint64)
        self._mask = np.uint64(slots - 1)

    def _start(self, first: Words) -> Words:
        return (first >> np.uint64(7)) & self._mask


def _words(keys: Sequence[bytes]) -> tuple[Words, Words]:
    """Return the first 8 bytes of each key, never 0, and 4 more bytes above a free 32 bits."""
    pairs: Any = np.frombuffer(b"".join(keys), np.uint64).reshape(-1, 2)
    return np.maximum(pairs[:, 0], np.uint64(1)), pairs[:, 1] & ~_NUMBER


def _steps(second: Words) -> Words:
    """Return the distance between the slots that a key may have: odd, so that it reaches all."""
    return (second >> np.uint64(32)) | np.uint64(1)
