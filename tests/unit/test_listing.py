"""The listing of a run gives back the items that were written."""

import copy
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from librehps import Item
from librehps.errors import BrokenMediaError, UsageError
from librehps.items.item_columns import columns_of
from librehps.media.archived import ParquetCell, Remote, TarMember
from librehps.runs import listing
from librehps.runs.listing import Listing

ITEMS = [
    Item("a", "a.png", "red", "image", "g", {"n": 1, "t": "ä"}),
    Item("b", TarMember("x.tar", "b.png", 512, 9), "x", extra={"n": None, "t": ""}),
    Item("c", "\udcff.png", "lone \ud800", problem=BrokenMediaError("why")),
    Item("d", Remote("s3://b/c.png"), None, "video", None, {"n": 1.5, "t": True}),
    Item("e", ParquetCell("x.parquet", "image", 3, "e.png"), "", extra={"n": 2, "t": "x"}),
    Item("f", "f.png", "x", extra={"n": 3, "t": "y"}),
    Item("g", "g.png", "x"),
]


def facts(item: Item) -> dict[str, Any]:
    return {**vars(item), "problem": str(item.problem)}


@pytest.mark.parametrize("chunk", [1, 3, 100])
def test_items_come_back_as_they_were(
    chunk: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "CHUNK_ITEMS", chunk)
    store = Listing(tmp_path)
    assert store.write([columns_of(ITEMS)]) == len(ITEMS)
    assert [(at, facts(item)) for at, item in store.items()] == [
        (at, facts(item)) for at, item in enumerate(ITEMS)
    ]
    for start in range(len(ITEMS)):
        for end in range(start, len(ITEMS) + 1):
            ids = [item.id for item in ITEMS[start:end]]
            assert [item.id for item in store.range(start, end)] == ids
            assert store.ids(start, end).to_pylist() == ids
    assert type(next(store.range(5, 6)).extra["n"]) is int
    # Chosen items, of which some chunks have none.
    chosen = [0, 2, 5, 6]
    found = store.chosen(len(ITEMS), lambda start, end: [at for at in chosen if start <= at < end])
    pairs = [pair for places, items in found for pair in zip(places, items, strict=True)]
    assert [(at, facts(item)) for at, item in pairs] == [(at, facts(ITEMS[at])) for at in chosen]
    assert store.write([]) == 0
    assert list(store.items()) == []


def test_own_columns_are_like_a_dict(tmp_path: Path) -> None:
    own = {"n": 1, "t": "ä", "none": None}
    store = Listing(tmp_path)
    store.write([columns_of([Item("a", "a.png", "x", extra=own), Item("b", "b", "y", extra=own)])])
    item = next(store.range(0, 1))
    assert type(item.extra) is not dict
    for same in (item, pickle.loads(pickle.dumps(item)), copy.deepcopy(item)):  # noqa: S301
        assert same == Item("a", "a.png", "x", extra=own)
        assert same.extra == own
        assert own == same.extra
        assert {**same.extra} == own
        assert repr(same.extra) == repr(own)
    assert replace(item, extra={}) != item
    assert "gone" not in item.extra
    assert len(item.extra) == 3
    assert item.extra.get("gone", 7) == 7


def test_a_damaged_listing_is_named(tmp_path: Path) -> None:
    store = Listing(tmp_path)
    store.write([columns_of(ITEMS)])
    file = store.chunk(0)
    whole = file.read_bytes()
    file.write_bytes(whole.replace(b'"name":"id"', b'"nome":"id"'))
    with pytest.raises(UsageError, match=r"000000\.arrow: damaged listing"):
        list(store.items())
    file.write_bytes(whole[:-20])
    with pytest.raises(UsageError, match=r"000000\.arrow: damaged listing"):
        list(store.items())


def test_each_byte_of_a_listing_is_checked(tmp_path: Path) -> None:
    store = Listing(tmp_path)
    store.write([columns_of(ITEMS)])
    file = store.chunk(0)
    whole = file.read_bytes()
    for at in range(0, len(whole), 7):
        file.write_bytes(bytes([*whole[:at], whole[at] ^ 1 << at % 8, *whole[at + 1 :]]))
        with pytest.raises(UsageError, match=r"damaged listing"):
            store.ids(0, len(ITEMS))
    file.write_bytes(b"")
    with pytest.raises(UsageError, match=r"damaged listing"):
        store.ids(0, len(ITEMS))
