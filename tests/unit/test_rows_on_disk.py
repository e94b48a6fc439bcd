"""Rows of a run on disk: written in groups, recovered after damage, and joined into an output."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from librehps import ImageScore, Item, LibreHPS, ScoreAxis, ScoredRow
from librehps.engine.content_key import content_key
from librehps.errors import EmptyFileError, OutputError
from librehps.items.item_columns import columns_of
from librehps.runs import listed_columns, listing, listing_chunk, row_store
from librehps.runs.frames import FrameFile
from librehps.runs.listed_columns import ListedColumns
from librehps.runs.listing import Listing
from librehps.runs.row_scores import RowScores
from librehps.runs.row_status import ERROR, NEW, OK
from librehps.runs.row_store import RowStore
from librehps.scores import columns
from librehps.scores.columns import BOOLEAN, DOUBLE, LONG, TEXT, full_columns
from librehps.scores.json_text import json_lines
from librehps.scores.jsonl import to_line
from librehps.scores.parquet import arrow_type
from librehps.scores.row import to_full_record
from librehps.scores.row_batch import RowSchema
from librehps.scores.scored_rows import as_columns
from librehps.settings import Settings
from librehps.types import AXES

OWN = {"seed": LONG, "size": DOUBLE, "note": TEXT, "seen": BOOLEAN}
TOTAL = 40


@pytest.fixture(scope="module")
def settings() -> Settings:
    return LibreHPS.from_pretrained("tiny").settings


@pytest.fixture(autouse=True)
def small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_store, "GROUP_ROWS", 8)
    monkeypatch.setattr(row_store, "CHUNK_ROWS", 16)


def scored(index: int, mu: float = 0.25) -> ScoredRow:
    extra = {"seed": index, "size": index if index % 2 else index / 2, "note": f'"{index}\n'}
    item = Item(f"{index}.png", f"m/{index}.png", f"a 猫 {index}", "image", extra=extra)
    if index % 10 == 9:
        return ScoredRow(item, "image", None, error=EmptyFileError("empty"))
    third = float(np.float32(index / 3))
    axes = {name: ScoreAxis(0.5, third, mu) for name in AXES if name != "temporal"}
    return ScoredRow(item, "image", ImageScore(axes, third), 64, 48, 7, f"{index:064}")


def opened(folder: Path, settings: Settings) -> RowStore:
    schema = RowSchema(settings, OWN, hashes=True)
    items = Listing(folder)
    has_listing = items.folder.exists()
    listed = ListedColumns(items, schema.listed_types) if has_listing else None
    return RowStore(folder, schema, bytearray(TOTAL), listed)


def filled(folder: Path, settings: Settings, rows: int = TOTAL, step: int = 3) -> RowStore:
    store = opened(folder, settings)
    for start in range(0, rows, step):
        indices = range(start, min(start + step, rows))
        store.append(indices, [scored(index) for index in indices])
    return store


def lines(store: RowStore, settings: Settings) -> list[str]:
    kinds = {**full_columns(settings.axes), **OWN}
    tables = store.in_order(list(kinds))
    texts = (json_lines(b, kinds).to_pybytes().decode() for t in tables for b in t.to_batches())
    return "".join(texts).splitlines()


def expected(settings: Settings, mu: float = 0.25) -> list[str]:
    kinds = {**full_columns(settings.axes), **OWN}
    rows = (scored(index, mu) for index in range(TOTAL))
    empty = dict.fromkeys(OWN)
    return [
        to_line({**to_full_record(row, settings), **empty, **row.item.extra}, kinds) for row in rows
    ]


def test_rows_come_back_in_order_as_they_were(tmp_path: Path, settings: Settings) -> None:
    store = filled(tmp_path, settings)
    assert store.whole_groups > 3
    assert lines(store, settings) == expected(settings)
    store.append([9, 2], [scored(9), scored(2, 0.5)])
    store.close()
    again = opened(tmp_path, settings)
    assert again.status == bytes(ERROR if i % 10 == 9 else OK for i in range(TOTAL))
    assert again.error_types() == {"EmptyFileError": 4}
    found = lines(again, settings)
    assert found[2] == expected(settings, 0.5)[2]
    assert found[:2] + found[3:] == expected(settings)[:2] + expected(settings)[3:]


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a listing have several chunks of two batches."""
    for module in (listing_chunk, listed_columns):
        monkeypatch.setattr(module, "BATCH_ITEMS", 4)
    for module in (listing, listed_columns):
        monkeypatch.setattr(module, "CHUNK_ITEMS", 8)


def listed_item(index: int) -> Item:
    """Return an item; of its chunk's columns the listing has all, `id` and `media`, or none."""
    item = scored(index).item
    if index < 16:
        # Numbers of one type, so that each own column is a column of the listing.
        return replace(item, extra={**item.extra, "size": index / 3, "seen": index % 3 > 0})
    return item if index < 32 or index % 4 else replace(item, media="\udcff.png")


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("seed", range(12))
def test_rows_do_not_repeat_the_listing(tmp_path: Path, settings: Settings, seed: int) -> None:
    rng = np.random.default_rng(seed)
    items = [listed_item(index) for index in range(TOTAL)]
    (tmp_path / "plain").mkdir()
    Listing(tmp_path).write([columns_of(items[at : at + 8]) for at in range(0, TOTAL, 8)])
    stores = [opened(folder, settings) for folder in (tmp_path, tmp_path / "plain")]
    order = np.arange(TOTAL) if seed % 2 else rng.permutation(TOTAL)
    again = rng.integers(0, TOTAL, 9)
    cuts = np.cumsum(rng.integers(1, 14, TOTAL + 9))
    for indices in np.split(np.concatenate([order, again]), cuts[cuts < TOTAL + 9]):
        rows = [replace(scored(at, rng.random()), item=items[at]) for at in indices.tolist()]
        for store in stores:
            store.append(indices, rows)
    names = ["id", "media", "note", "seen", "seed", "size", "overall_mu", "phash"]
    for _ in range(2):
        ours, plain = ([*store.in_order(names)] for store in stores)
        assert pa.concat_tables(ours).equals(pa.concat_tables(plain))
        for at in range(stores[0].whole_groups + 1):
            one, other = (store.group(at, names[rng.integers(3) :]) for store in stores)
            assert one[1].select(names[2:]).equals(other[1].select(names[2:]))
        some = rng.permutation(TOTAL)[:7]
        assert stores[0].rows(some, names).equals(stores[1].rows(some, names))
        for store in stores:
            store.close()
        stores = [opened(folder, settings) for folder in (tmp_path, tmp_path / "plain")]


@pytest.mark.usefixtures("small_batches")
def test_a_listing_without_columns_of_rows_is_an_error(tmp_path: Path, settings: Settings) -> None:
    items = [listed_item(index) for index in range(TOTAL)]
    Listing(tmp_path).write([columns_of(items[at : at + 8]) for at in range(0, TOTAL, 8)])
    store, names = opened(tmp_path, settings), ("id", "seen", "seed")
    for at in range(0, TOTAL, 8):
        rows = [replace(scored(index), item=items[index]) for index in range(at, at + 8)]
        store.append(range(at, at + 8), rows)
    counts = [[c.null_count for c in store._table(at, names).columns] for at in (0, 3, 4)]
    # All own columns of the first items; those of others have values of several types.
    assert counts == [[8, 8, 8], [8, 8, 0], [0, 8, 0]]
    shutil.rmtree(tmp_path / "listing")
    Listing(tmp_path).write([columns_of([replace(one, media="\udcff.png") for one in items])])
    with pytest.raises(OutputError, match="damaged listing"):
        [*opened(tmp_path, settings).in_order(names)]


@pytest.mark.parametrize("step", [3, 4, 7, 20])
def test_many_rows_at_once_are_a_group(tmp_path: Path, settings: Settings, step: int) -> None:
    store = filled(tmp_path, settings, step=step)
    assert lines(store, settings) == expected(settings)
    assert (tmp_path / row_store.NEWEST_FILE).stat().st_size == 0 or step == 3
    store.close()
    assert lines(opened(tmp_path, settings), settings) == expected(settings)


def test_every_cut_loses_the_last_rows_only(tmp_path: Path, settings: Settings) -> None:
    """A kill in the middle of a write leaves a file that ends anywhere."""
    store = filled(tmp_path, settings, 12)
    store.close()
    newest, groups = tmp_path / row_store.NEWEST_FILE, tmp_path / row_store.GROUPS_FILE
    whole, kept = newest.read_bytes(), groups.read_bytes()
    for end in range(0, len(whole), 499):
        newest.write_bytes(whole[:end])
        groups.write_bytes(kept)
        again = opened(tmp_path, settings)
        assert again.status.count(NEW) == TOTAL - 9
        again.append(range(9, TOTAL), [scored(index) for index in range(9, TOTAL)])
        assert lines(again, settings) == expected(settings)
        again.close()


def test_damage_is_found_and_costs_its_group(
    tmp_path: Path, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    filled(tmp_path, settings).close()
    newest, groups = tmp_path / row_store.NEWEST_FILE, tmp_path / row_store.GROUPS_FILE
    kept, whole = newest.read_bytes(), groups.read_bytes()
    for at in range(0, len(whole), 1999):
        caplog.clear()
        groups.write_bytes(whole[:at] + bytes([whole[at] ^ 0x20]) + whole[at + 1 :])
        newest.write_bytes(kept)
        store = opened(tmp_path, settings)
        lost = [index for index, status in enumerate(store.status) if status == NEW]
        assert lost == list(range(lost[0], lost[0] + 9))
        # A last group that is damaged looks like one that a kill cut off.
        assert "are scored again" in caplog.text or lost[0] == 27
        store.append(lost, [scored(index) for index in lost])
        assert lines(store, settings) == expected(settings)
        store.close()
    groups.write_bytes(whole)
    store = opened(tmp_path, settings)
    groups.write_bytes(b"x" * len(whole))
    with pytest.raises(OutputError, match="damaged") as raised:
        lines(store, settings)
    assert "--resume" in (raised.value.hint or "")


class Disk:
    """The files of a folder as a power loss would leave them: with the last synced bytes."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.synced = folder, dict[str, bytes]()
        original = FrameFile.sync

        def sync(file: FrameFile) -> None:
            original(file)
            self.synced[file.path.name] = file.path.read_bytes()

        monkeypatch.setattr(FrameFile, "sync", sync)

    def lose_power(self) -> None:
        for path in self.folder.iterdir():
            path.write_bytes(self.synced.get(path.name, b""))


@pytest.mark.parametrize("rows", range(3, TOTAL, 3))
def test_a_power_loss_keeps_what_was_synced(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    disk = Disk(tmp_path, monkeypatch)
    store = filled(tmp_path, settings, rows)
    store.sync()
    at = rows
    while at < TOTAL - 5:
        # Several rows are a group at once, which is not synced before a later row comes.
        end = min(at + (5 if rows % 2 and at % 2 else 1), TOTAL - 5)
        store.append(range(at, end), [scored(index) for index in range(at, end)])
        at = end
    store.close()
    disk.lose_power()
    again = opened(tmp_path, settings)
    left = [index for index, status in enumerate(again.status) if status == NEW]
    assert left and left[0] >= rows
    again.append(left, [scored(index) for index in left])
    assert lines(again, settings) == expected(settings)


def test_an_item_without_a_row_is_an_error(tmp_path: Path, settings: Settings) -> None:
    with pytest.raises(OutputError, match="1 items have no row"):
        lines(filled(tmp_path, settings, TOTAL - 1), settings)


def test_rows_in_a_group_are_not_taken_again(tmp_path: Path, settings: Settings) -> None:
    """A power loss can bring back the newest rows of before a group was made of them."""
    store = filled(tmp_path, settings, 6)
    newest = tmp_path / row_store.NEWEST_FILE
    before = newest.read_bytes()
    store.append([6, 7], [scored(6), scored(7)])
    assert not newest.read_bytes()
    store.append([8, 2], [scored(8), scored(2, 0.5)])
    store.close()
    newest.write_bytes(newest.read_bytes() + before)
    again = opened(tmp_path, settings)
    again.append(range(9, TOTAL), [scored(index) for index in range(9, TOTAL)])
    assert lines(again, settings)[2] == expected(settings, 0.5)[2]


def test_a_full_disk_leaves_whole_rows(tmp_path: Path, settings: Settings) -> None:
    store = filled(tmp_path, settings, 6)
    real = store._newest._file

    class Full:
        def write(self, data: bytes) -> int:
            return int(real.write(data[:100]))

        def __getattr__(self, name: str) -> object:
            return getattr(real, name)

    store._newest._file = Full()
    with pytest.raises(OSError, match="No space"):
        store.append([6], [scored(6)])
    store._newest._file = real
    store.append(range(6, TOTAL), [scored(index) for index in range(6, TOTAL)])
    assert lines(store, settings) == expected(settings)


def test_scores_of_rows_are_found_by_content(tmp_path: Path, settings: Settings) -> None:
    def key(index: int) -> bytes:
        row = scored(index)
        return content_key("image", row.sha256 or "", row.item.prompt)

    store = filled(tmp_path, settings, 20)
    for scores in (RowScores(store), RowScores(opened(tmp_path, settings))):
        found = scores.find([key(index) for index in range(0, TOTAL, 2)])
        assert set(found) == {key(index) for index in range(0, 20, 2)}
        raw = found[key(2)]
        assert (raw.mu, raw.scalar) == ((0.25,) * 4 + (0.0,), np.float32(2 / 3))
        assert key(9) not in scores.find([key(9)])


def keyed(index: int, has_key: bool = True) -> ScoredRow:
    one = scored(index)
    key = content_key("image", one.sha256, one.item.prompt) if one.sha256 else None
    return replace(one, key=key if has_key else None)


@pytest.mark.parametrize("step", [3, 4, 10])
def test_scores_are_known_before_and_after_their_rows_are_stored(
    tmp_path: Path, settings: Settings, step: int
) -> None:
    store = opened(tmp_path, settings)
    store.append(range(2), [keyed(0, has_key=False), keyed(1)])
    known, rows = RowScores(store), [keyed(index) for index in range(TOTAL)]
    for start in range(2, TOTAL, 4):
        window = as_columns(rows[start : start + 4], settings.axes)
        known.add(window, {key: at for at, key in enumerate(window.keys) if key})
    for start in range(2, TOTAL + step, step):
        found = known.find([row.key for row in rows if row.key])
        assert [row.score is None or found[row.key or b""].scalar for row in rows] == [
            row.score is None or row.score.scalar for row in rows
        ]
        # Windows of which all rows are stored are not kept in memory.
        assert len(known._newest) == (10 - (start - 2) // 4 if start < TOTAL else 0)
        store.append(range(start, min(start + step, TOTAL)), rows[start : start + step])


def test_keys_given_with_rows_are_those_of_their_content(
    tmp_path: Path, settings: Settings
) -> None:
    store = opened(tmp_path, settings)
    known = RowScores(store)
    # Groups of rows with keys, without, and with both, as after a retry; 9, 19 and 29 are errors.
    for index in range(32):
        store.append([index], [keyed(index, has_key=index < 8 or index > 18)])
    keys = {index: keyed(index, has_key=True).key for index in range(32)}
    found = known.find([key for key in keys.values() if key])
    assert {index for index, key in keys.items() if key in found} == set(range(32)) - {9, 19, 29}
    assert all(found[key].scalar == np.float32(at / 3) for at, key in keys.items() if key)


def texts() -> Iterator[str | None]:
    yield from ('a"b', "c\\d", "e\nf", "g\x00h", "猫😀", "\x7f\u2028", "plain", None, "")


def test_json_text_of_columns_is_that_of_rows() -> None:
    kinds = {"t": TEXT, "r": columns.REAL, "i": columns.INTEGER, "l": LONG,
             "f": columns.INTEGERS, "b": BOOLEAN, "d": DOUBLE}  # fmt: skip
    rng, count = np.random.default_rng(1), 4000
    numbers = rng.integers(0, 2**32, count, dtype=np.uint32).view(np.float32)
    numbers[:1000] = rng.normal(0, 5, 1000)
    numbers[1000:1100] = np.arange(100)
    numbers[1100:2000] = 10.0 ** rng.uniform(-7, 9, 900)
    words = [*texts()]
    rows = [
        {
            "t": words[at % 9],
            "r": None if at % 13 == 0 else float(numbers[at]),
            "i": None if at % 7 == 0 else at - 1000,
            "l": at * 10**13 if at % 3 else None,
            "f": None if at % 2 else list(range(at % 4)),
            "b": (True, False, None)[at % 3],
            "d": None if at % 5 == 0 else float(numbers[at]) * 10.0 ** (at % 40 - 20),
        }
        for at in range(count)
    ]
    with np.errstate(all="ignore"):
        lines = "".join(f"{to_line(row, kinds)}\n" for row in rows)
    schema = pa.schema([(name, arrow_type(kind)) for name, kind in kinds.items()])
    batch = pa.RecordBatch.from_pylist(rows, schema=schema)
    slices = [batch.slice(start, 777) for start in range(0, count, 777)]
    assert b"".join(bytes(json_lines(part, kinds)) for part in slices).decode() == lines
    assert json.loads(lines.splitlines()[4])["t"] == "猫😀"
