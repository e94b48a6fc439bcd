"""The indexes of hashes: every key is found under its first number, however the runs grow."""

import numpy as np
import pytest

from librehps import key_index
from librehps.key_index import HashSet, KeyIndex


def small(monkeypatch: pytest.MonkeyPatch, recent: int, block: int) -> None:
    """Let indexes have many runs, and merge few rows at once."""
    monkeypatch.setattr(key_index, "RECENT_KEYS", recent)
    monkeypatch.setattr(key_index, "BLOCK_ROWS", block)


def test_a_key_is_found_among_many() -> None:
    index, rng = KeyIndex(), np.random.default_rng(0)
    keys = [rng.bytes(16) for _ in range(40_000)]
    for start in range(0, len(keys), 999):
        part = keys[start : start + 999]
        assert (index.find(part) == -1).all()
        index.add([*part, *part[:5]], np.arange(start, start + len(part) + len(part[:5])))
    assert len(index) == len(keys)
    index.add(keys, np.zeros(len(keys), np.int64))
    assert len(index) == len(keys) and index.find(keys).tolist() == list(range(len(keys)))
    assert len(index.find([])) == 0


@pytest.mark.parametrize("seed", range(4))
def test_numbers_of_keys_are_those_of_a_dict(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    small(monkeypatch, [1, 50, 999, 4000][seed], [1, 64, 999, 65_536][seed])
    index, known, rng = KeyIndex(), dict[bytes, int](), np.random.default_rng(seed)
    pool = [rng.bytes(16) for _ in range(20_000)]
    # Keys of one word of the filter, at both ends of the runs; of the same first word; without a
    # bit.
    pool += [end * 4 + rng.bytes(12) for end in (b"\xff", b"\0") for _ in range(60)]
    pool += [end * 8 + rng.bytes(8) for end in (b"\xff", b"\0", b"7") for _ in range(60)]
    pool.append(bytes(16))
    for start in range(0, 45_000, 3000):
        keys = [pool[at] for at in rng.integers(0, len(pool), rng.integers(3000))]
        keys += pool[-rng.integers(1, 300) :]
        numbers = [known.get(key, -1) for key in keys]
        assert index.find(keys).tolist() == numbers
        places, found = index.hits(keys)
        assert places.tolist() == [at for at, number in enumerate(numbers) if number >= 0]
        assert found.tolist() == [number for number in numbers if number >= 0]
        index.add(keys, key_index.MAX_NUMBER - start - np.arange(len(keys)))
        for at, key in enumerate(keys):
            known.setdefault(key, key_index.MAX_NUMBER - start - at)
        assert len(index) == len(known)
    assert index.find(list(known)).tolist() == list(known.values())


@pytest.mark.parametrize("recent", [1, 64, 5000])
def test_a_set_has_the_hashes_that_were_added(recent: int, monkeypatch: pytest.MonkeyPatch) -> None:
    small(monkeypatch, recent, 99)
    rng, hashes, known = np.random.default_rng(recent), HashSet(), set[int]()
    for turn in range(40):
        # Some at both ends of the runs, and in one word of the filter.
        low, high = [(-(2**63), 2**63 - 1), (-999, 0), (0, 99)][turn % 3]
        keys = rng.integers(low, high, rng.choice([0, 1, 30, 2000]), endpoint=True).tolist()
        assert hashes.hits(keys)[0].tolist() == [at for at, key in enumerate(keys) if key in known]
        hashes.add(keys)
        known.update(keys)
        assert len(hashes) == len(known)
        assert all(hashes.has(key) is (key in known) for key in [*keys[:50], *range(-9, 99)])
