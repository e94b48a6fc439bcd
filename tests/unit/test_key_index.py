"""The index of 16-byte keys: every key is found under its number, however the table grows."""

import sys

import numpy as np
import pytest

from librehps.engine import key_index
from librehps.engine.key_index import KeyIndex


def test_a_key_is_found_among_many() -> None:
    index, rng = KeyIndex(), np.random.default_rng(0)
    keys = [rng.bytes(16) for _ in range(20_000)]
    for start in range(0, len(keys), 999):
        part = keys[start : start + 999]
        assert (index.find(part) == -1).all()
        index.add([*part, *part[:5]], np.arange(start, start + len(part) + len(part[:5])))
    assert len(index) == len(keys)
    index.add(keys, np.zeros(len(keys), np.int64))
    found = index.find(keys)
    assert len(index) == len(keys) and (np.diff(found) != 0).all()
    assert len(index.find([])) == 0


@pytest.mark.parametrize("seed", range(4))
def test_numbers_of_keys_are_those_of_a_dict(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_index, "GROW_BUCKETS", [2, 64, 999, 8192][seed])
    index, known, rng = KeyIndex(), dict[bytes, int](), np.random.default_rng(seed)
    pool = [rng.bytes(16) for _ in range(20_000)]
    # Keys of one bucket, at both ends of the table, and without a bit.
    pool += [end * 4 + rng.bytes(12) for end in (b"\xff", b"\0") for _ in range(60)] + [bytes(16)]
    for start in range(0, 45_000, 3000):
        keys = [pool[at] for at in rng.integers(0, len(pool), rng.integers(3000))]
        assert index.find(keys).tolist() == [known.get(key, -1) for key in keys]
        keys = list(dict.fromkeys(keys))
        index.add(keys, start + np.arange(len(keys)))
        known = {key: start + at for at, key in enumerate(keys)} | known
        assert len(index) == len(known)
    assert index.find(list(known)).tolist() == list(known.values())


@pytest.mark.parametrize("grow_buckets", [2, 8192])
def test_keys_that_share_a_bucket_are_found_before_and_after_growth(
    grow_buckets: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # With few buckets at once, keys far from their own buckets are moved.
    monkeypatch.setattr(key_index, "GROW_BUCKETS", grow_buckets)
    index = KeyIndex()
    # The first 8 bytes choose the bucket; the last bucket continues in the first one.
    ends = [bytes([value]) * 8 for value in (0, 127, 255)]
    keys = [end + (at << 32).to_bytes(8, sys.byteorder) for at in range(20) for end in ends]
    index.add(keys, np.arange(len(keys)))
    assert index.find(keys).tolist() == list(range(len(keys)))
    rng = np.random.default_rng(1)
    more = [rng.bytes(16) for _ in range(9000)]
    index.add(more, len(keys) + np.arange(len(more)))
    assert index.find([*keys, *more]).tolist() == list(range(len(index))) == list(range(9060))
    assert index.find([end + bytes([1]) * 8 for end in ends]).tolist() == [-1] * 3
