"""Duplicate ids are found among many, also by blocks and where hashes are equal."""

import random
from collections import Counter

import numpy as np
import pytest

from librehps.items import ids
from librehps.items.hash_table import HashTable
from librehps.items.ids import SeenIds


def test_ids_of_equal_hash_are_no_duplicates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ids, "hash", lambda identity: len(identity), raising=False)
    seen = SeenIds()
    names = [f"{at:05}\n\\n" for at in range(500)] + ["0\n", "0\\n", "0\udcff"]
    assert all(map(seen.add, names))
    assert not any(map(seen.add, names))
    seen.close()


def test_an_early_id_is_found_among_many() -> None:
    seen = SeenIds()
    names = [f"pics/{at}.png" for at in range(30_000)]
    assert all(map(seen.add, names))
    assert not any(map(seen.add, names[::1000]))
    assert seen.first_repeated(["new", names[7], "new"]) == names[7]
    seen.close()


@pytest.mark.parametrize("bits", [2, 64])
def test_the_first_repeated_id_of_a_block_is_named(
    bits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # With few different hashes, the ids themselves are compared.
    monkeypatch.setattr(ids, "hash", lambda text: hash(text) >> (64 - bits), raising=False)
    chance = random.Random(bits)
    for _ in range(40):
        seen, known, names = SeenIds(), set[str](), [f"{at}\n\\" for at in range(300)]
        chance.shuffle(names)
        while names:
            block = [names.pop() for _ in range(min(len(names), chance.randint(0, 40)))]
            if chance.random() < 0.5:
                assert all(map(seen.add, block))
            else:
                assert seen.first_repeated(block) is None
            known.update(block)
        block = [f"new {at}" for at in range(9)]
        block.insert(chance.randint(0, 9), chance.choice(list(known)))
        block.insert(chance.randint(0, 9), chance.choice(block))
        first = next(name for at, name in enumerate(block) if name in known | {*block[:at]})
        assert seen.first_repeated(block) == first
        seen.close()


def test_a_table_of_hashes_is_a_set() -> None:
    chance, table, known = random.Random(0), HashTable(), set[int]()
    for turn in range(60):
        # Some at both ends of the table, whose last bucket goes on in the first.
        low, high = chance.choice([(1, 2**64), (1, 2**64), (1, 99), (2**64 - 999, 2**64)])
        keys = [chance.randrange(low, high) for _ in range(chance.choice([0, 1, 30, 2000]))]
        keys += chance.sample(sorted(known), 3) if turn % 3 and known else []
        counts = Counter(keys)
        is_old = [key in known or counts[key] > 1 for key in keys]
        assert table.add(np.array(keys, np.uint64)).tolist() == is_old
        known.update(keys)
    assert all(map(table.has, known))
    assert not any(table.has(key) for key in range(2**63, 2**63 + 99) if key not in known)
