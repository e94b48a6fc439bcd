"""Duplicate ids are found among many, also by blocks and where hashes are equal."""

import random
from contextlib import closing
from typing import Any

import pytest

from librehps.items import ids
from librehps.items.ids import NumberedIds, SeenIds
from librehps.items.item_columns import blocks, columns_of
from librehps.types import Item


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


@pytest.mark.parametrize("size", [1, 7, 3000])
def test_a_list_that_comes_three_times_gets_numbers(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads, real = [], SeenIds._in_file

    def counted(self: SeenIds, ids: Any) -> set[str]:
        reads.append(ids := list(ids))
        return real(self, ids)

    monkeypatch.setattr(SeenIds, "_in_file", counted)
    monkeypatch.setattr(ids, "RECENT_IDS", 20)
    names = [f"{at}.png" for at in range(2000 if size > 7 else 40)]
    items = [Item(name, name, None) for name in names * 3]
    with closing(SeenIds()) as seen:
        parts = map(NumberedIds(seen).columns, map(columns_of, blocks(items, size)))
        found = [(item, bool(part.problems.get(at))) for part in parts
                 for at, item in enumerate(part.ids)]  # fmt: skip
    numbered = [(f"{name}{end}", end != "") for end in ("", "#2", "#3") for name in names]
    assert found == numbered
    # One pass over the file of ids for a block, not one for each duplicate.
    assert sum(map(bool, reads)) <= 2 * (len(items) // size + 1)
