"""Rows of windows that go to the journal together: which, when, and what an error leaves."""

import json
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import accumulate, cycle, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from librehps import ImageScore, Item, LibreHPS, ScoredRow, score_to
from librehps.engine import in_flight
from librehps.engine.decode import Decoded, Decoder
from librehps.engine.engine import LocalEngine
from librehps.errors import EmptyFileError, UsageError
from librehps.media.media import Media
from librehps.runs import gathered, journal, listing_chunk, row_store
from librehps.runs.awaited_rows import AwaitedRows
from librehps.runs.gathered import IndexQueue
from librehps.runs.journal import Journal
from librehps.runs.listed_columns import ListedColumns
from librehps.runs.observer import RunObserver
from librehps.runs.progress import RunProgress
from librehps.scores.scored_rows import ScoredRows, as_columns, joined
from librehps.types import AxisColumns

AXES = ("overall", "style")
PICTURES = sorted((Path(__file__).parents[2] / "examples/media").glob("*.png"))


def row(at: int) -> ScoredRow:
    item = Item(f"{at}", f"{at}.png", "x")
    if at % 5 == 4:
        return ScoredRow(item, "image", None, error=EmptyFileError("empty"))
    score = ImageScore(AxisColumns(AXES, [0.5, at / 100], [1.0, 2.0], [0.0, at]), at / 2)
    return ScoredRow(item, "image", score, 8, 6, 4, f"{at:064}", key=bytes([at]) * 16)


def rows(first: int, end: int) -> list[ScoredRow]:
    return [row(at) for at in range(first, end)]


def together(windows: Iterator[Sequence[ScoredRow]]) -> list[list[str]]:
    return [[one.item.id for one in some] for some in gathered.gathered(windows, AXES)]


def ids(first: int, end: int) -> list[str]:
    return [str(at) for at in range(first, end)]


@pytest.fixture
def no_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every window comes quickly, so that rows leave when they are many."""
    monkeypatch.setattr(gathered, "HOLD_S", float("inf"))
    monkeypatch.setattr(gathered, "MAX_HELD_ROWS", 8)


def windows(*bounds: int, error: Exception | None = None) -> Iterator[Sequence[ScoredRow]]:
    for first, end in pairwise(bounds):
        yield rows(first, end) if first % 2 else as_columns(rows(first, end), AXES)
    if error is not None:
        raise error


def test_each_window_leaves_at_once_where_windows_take_long() -> None:
    assert together(windows(0, 3, 5)) == [ids(0, 3), ids(3, 5)]
    assert together(windows(0)) == []


@pytest.mark.usefixtures("no_hurry")
def test_quick_windows_leave_together() -> None:
    assert together(windows(0, 3, 7, 9, 20, 21)) == [ids(0, 9), ids(9, 20), ids(20, 21)]
    parts = [as_columns(rows(first, first + 4), AXES) for first in (0, 7)]
    assert list(map(repr, joined(parts))) == [repr(one) for part in parts for one in part]


def test_rows_are_stored_before_the_engine_waits_for_the_next_ones(
    tmp_path: Path, tiny: LibreHPS, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gathered, "HOLD_S", float("inf"))
    monkeypatch.setattr(in_flight, "LONG_WAIT_S", 0.0)
    monkeypatch.setattr(LocalEngine, "window_size", lambda *_: 1)
    stored, decode = Stored(), Decoder.decode

    def waiting(self: Decoder, item: Item, content: Media | None = None) -> Decoded:
        # Without rows in the journal this item is never decoded.
        assert item.id != "last" or stored.is_first.wait(60)
        return decode(self, item, content)

    monkeypatch.setattr(Decoder, "decode", waiting)
    image = str(PICTURES[0])
    lines = [{"id": name, "image": image, "prompt": "x"} for name in ("first", "second", "last")]
    manifest = tmp_path / "m.jsonl"
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = score_to(manifest, tmp_path / "x.jsonl", model=tiny, observer=stored, cache="none")
    assert found.ok == 3


@pytest.mark.parametrize("name", ["x.jsonl", "memory://observed/x.parquet"])
def test_an_observer_gets_own_columns_as_a_dict(name: str, tmp_path: Path, tiny: LibreHPS) -> None:
    class Noting(RunObserver):
        def scored(self, row: ScoredRow) -> None:
            row.item.extra["seen"] = json.dumps(row.item.extra)  # type: ignore[index]
            seen.append(row)

    seen = list[ScoredRow]()
    manifest = tmp_path / "m.csv"
    manifest.write_text(f"image,prompt,seed\n{PICTURES[0]},x,7\n")
    output = name if "://" in name else tmp_path / name
    score_to(manifest, output, model=tiny, observer=Noting(), overwrite=True)
    assert [row.item.extra for row in seen] == [{"seed": "7", "seen": '{"seed": "7"}'}]


@pytest.mark.usefixtures("no_hurry")
def test_held_rows_come_before_an_error() -> None:
    found = gathered.gathered(windows(0, 3, 5, error=EmptyFileError("gone")), AXES)
    assert [one.item.id for one in next(found)] == ids(0, 5)
    with pytest.raises(EmptyFileError, match="gone"):
        next(found)
    closed = gathered.gathered(windows(0, 9, 12), AXES)
    next(closed)
    closed.close()


def test_indices_leave_in_the_order_of_their_items() -> None:
    queue = IndexQueue()
    for indices in (range(3, 9), [11, 14], range(20, 20), [30]):
        queue.add(indices)
    found = [queue.take(count).tolist() for count in (2, 0, 5, 2)]
    assert found == [[3, 4], [], [5, 6, 7, 8, 11], [14, 30]]


@pytest.mark.parametrize("counts", [(9,), (1, 1, 7), (4, 5), (2, 3, 4), (1, 8)])
def test_rows_of_windows_are_dealt_to_those_who_wait(counts: tuple[int, ...]) -> None:
    ends, given = [0, *accumulate(counts)], deque(AwaitedRows(count) for count in counts)
    whole = []
    for first, end in ((0, 4), (4, 4), (4, 7), (7, 9)):
        window, taken = as_columns(rows(first, end), AXES), 0
        while taken < len(window):
            taken = given[0].take(window, taken)
            if given[0].are_whole:
                whole.append(given.popleft().rows())
    assert list(map(repr, whole)) == [
        repr(as_columns(rows(first, end), AXES)) for first, end in pairwise(ends)
    ]


class Stored(RunObserver):
    """Notices when the first row is in the journal."""

    def __init__(self) -> None:
        self.is_first = threading.Event()

    def scored(self, row: ScoredRow) -> None:
        self.is_first.set()


class Windows(RunObserver):
    def __init__(self) -> None:
        self.sizes: list[int] = []

    def scored_window(self, rows: ScoredRows, progress: RunProgress) -> None:
        self.sizes.append(len(rows))
        super().scored_window(rows, progress)


def test_an_observer_gets_no_window_without_rows(
    tiny: LibreHPS, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LocalEngine, "window_size", lambda *_: 2)
    # As before long waits.
    are_long = cycle([True, False])
    monkeypatch.setattr(in_flight, "_take_long", lambda _: next(are_long))
    observer, options = Windows(), dict[str, Any](prompt="x", model=tiny, cache="none")
    found = score_to(PICTURES[:4], "memory://gathered/out", observer=observer, **options)
    assert (found.ok, observer.sizes) == (4, [2, 2])


class LostError(Exception):
    """Ends a run like a kill: the journal stays as it is."""


class Losing(RunObserver):
    def scored(self, row: ScoredRow) -> None:
        raise LostError


def to_parquet(table: Any, axes: Sequence[str]) -> memoryview:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return memoryview(sink.getvalue())


def to_ipc(table: Any, axes: Sequence[str]) -> memoryview:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table.combine_chunks())
    return memoryview(sink.getvalue())


def as_they_are(columns: Any, rows: int) -> tuple[Any, list[Any]]:
    table = pa.table(columns)
    return table.schema, table.to_batches(rows)


@pytest.mark.parametrize(
    ("layout", "group_rows"), [(2, 3), (2, 4), (2, 100), (3, 3), (3, 4), (4, 3)]
)
def test_a_journal_of_an_older_layout_is_resumed(
    layout: int,
    group_rows: int,
    tmp_path: Path,
    tiny: LibreHPS,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    media = PICTURES[:7]
    manifest = tmp_path / "m.jsonl"
    lines = [{"image": str(one), "prompt": f"p{at}", "n": at} for at, one in enumerate(media)]
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
    monkeypatch.setattr(LocalEngine, "window_size", lambda *_: 2)
    with monkeypatch.context() as older:
        older.setattr(gathered, "HOLD_S", float("inf"))
        older.setattr(in_flight, "LONG_WAIT_S", 60.0)
        older.setattr(gathered, "MAX_HELD_ROWS", 4)
        older.setattr(row_store, "GROUP_ROWS", group_rows)
        if layout < 4:
            older.setattr(row_store, "group_payload", to_parquet if layout == 2 else to_ipc)
            older.setattr(listing_chunk, "packed", as_they_are)
            older.setattr(listing_chunk, "_flat", lambda columns: columns)
        if layout == 2:
            older.setattr(ListedColumns, "names", lambda *_: frozenset())
        older.setattr(listing_chunk, "framed", lambda content, checksum: bytes(content))
        older.setattr(journal, "LAYOUT", layout)
        with pytest.raises(LostError):
            score_to(manifest, tmp_path / "x.parquet", model=tiny, observer=Losing(), cache="none")
    monkeypatch.setattr(row_store, "GROUP_ROWS", 3)
    options: dict[str, Any] = {"model": tiny, "cache": "none"}
    with pytest.raises(UsageError, match="cannot resume"):
        score_to(manifest, tmp_path / "x.parquet", resume=True, prompt="other", **options)
    # A refused run leaves the journal to the version that wrote it.
    record = (tmp_path / "x.parquet.journal" / "run.json").read_text()
    assert json.loads(record)["layout"] == layout
    appended = []
    append = Journal.append

    def seen(self: Journal, indices: Any, rows: Any) -> None:
        append(self, indices, rows)
        appended.append((self._read_run()["layout"], np.asarray(indices).tolist()))

    monkeypatch.setattr(Journal, "append", seen)
    found = score_to(manifest, tmp_path / "x.parquet", resume=True, **options)
    assert (found.kept, appended) == (4, [(5, [4, 5]), (5, [6])])
    score_to(manifest, tmp_path / "y.parquet", **options)
    resumed, fresh = (pq.read_table(tmp_path / name) for name in ("x.parquet", "y.parquet"))
    assert resumed.drop_columns("settings").equals(fresh.drop_columns("settings"))
