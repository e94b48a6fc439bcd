"""Windows of the engine: duplicates, errors, cached scores and pixels in memory, mixed."""

import hashlib
import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from librehps import Item, LibreHPS
from librehps.engine import device, in_flight, stage, window_size
from librehps.engine.content_key import content_key, content_keys
from librehps.engine.decode import NOT_PREPARED, Decoded
from librehps.engine.engine import LocalEngine
from librehps.engine.outcome import decoded_columns, no_rows, scored_rows, sigmoid
from librehps.engine.outputs import Outputs
from librehps.engine.score_cache import ScoreCache
from librehps.engine.window_size import MAX_GROWTH, WindowSize
from librehps.errors import DeviceMemoryError, EmptyFileError, ItemError, NonFiniteScoreError
from librehps.models.base import Prepared, RawScore
from librehps.types import AxisColumns, ScoredRow

AXES = ("overall", "alignment", "coherence", "style", "temporal")
# Contents by name: damaged, pixels in memory, and media with a score of an earlier run.
BROKEN, PIXELS, CACHED = "broken", "pixels", "cached"


def raw_of(number: int) -> RawScore:
    mus = np.random.default_rng(number).normal(0, 3, (2, len(AXES))).tolist()
    return RawScore(tuple(mus[0]), tuple(mus[1]), None if number % 3 else number / 7)


def digest_of(media: object) -> str:
    return hashlib.sha256(str(media).encode()).hexdigest()


NOTHING = RawScore((math.nan,) * len(AXES), (1.0,) * len(AXES))


@dataclass
class Decoder:
    """A stand-in for the decoder: the content of an item is its name."""

    readers: Any
    cache: Any = None

    def kind_of(self, item: Item, content: object) -> str:
        return "video" if "clip" in str(item.media) else "image"

    def decode(self, item: Item, content: object) -> Decoded:
        name, number = str(item.media).split("-")[:2]
        if name == BROKEN:
            raise EmptyFileError("the file is empty")
        prepared = replace(NOT_PREPARED, ids=torch.empty(1 + int(number) % 9), vision=int(number))
        digest = None if name == PIXELS else digest_of(item.media)
        frames = (0, 3) if "clip" in str(item.media) else None
        cached = raw_of(int(number)) if name == CACHED else None
        kind: Any = self.kind_of(item, content)
        return Decoded(prepared, kind, 8, 9, frames, 7, digest, cached=cached)


class Model:
    """A stand-in for the model: the scores of an item depend on its number alone.

    With `fails` there are numbers with an error and with NaN.
    """

    axes, device, dtype = AXES, torch.device("cpu"), torch.float32

    def __init__(self, fails: bool = False) -> None:
        self.seen: list[int] = []
        self.batches: list[list[int]] = []
        self.outputs: dict[int, RawScore | ItemError] = {}
        if fails:
            self.outputs = {5: DeviceMemoryError("out of memory"), 12: NOTHING}

    def launch(self, batch: Sequence[Prepared]) -> Callable[[], list[RawScore | ItemError]]:
        numbers: list[Any] = [one.vision for one in batch]
        self.seen += numbers
        self.batches.append(numbers)
        return lambda: [self.outputs.get(number) or raw_of(number) for number in numbers]


class NoCache:
    """A stand-in for the scores of earlier runs, whose items have their score already."""

    def __init__(self) -> None:
        self.added: list[Any] = []

    def add(self, scores: Any) -> None:
        self.added += list(scores)

    def close(self) -> None:
        pass


def engine_of(tiny: LibreHPS, model: Any, cache: Any, index: Any) -> LocalEngine:
    engine = tiny.engine(batch_size=4)
    decoder: Any = Decoder(engine.decoder.readers, cache)
    return replace(engine, model=model, decoder=decoder, workers=2, index=index)


@pytest.mark.parametrize("usual", [True, False])
@pytest.mark.parametrize("seed", range(4))
def test_rows_are_those_of_each_item_alone(tiny: LibreHPS, seed: int, usual: bool) -> None:
    rng = np.random.default_rng(seed)
    names = ["file", "file-clip"] if usual else ["file", "clip", BROKEN, PIXELS, CACHED]
    items = []
    for at in range(150):
        name, number = names[rng.integers(len(names))], int(rng.integers(10_000 if usual else 40))
        name, *kind = name.split("-")
        media = "-".join([name, str(number), *kind])
        items.append(Item(str(at), media, f"prompt {number % 2}"))
    model, cache = Model(fails=not usual), NoCache()
    engine = engine_of(tiny, model, cache, ScoreCache())
    rows = list(engine.run(items))
    assert [row.item.id for row in rows] == [item.id for item in items]
    scored, launched = set[str](), 0
    for row, item in zip(rows, items, strict=True):
        name, number = item.media.split("-")[0], int(item.media.split("-")[1])
        if name == BROKEN:
            assert isinstance(row.error, EmptyFileError) and row.key is None
            continue
        if number in model.outputs and name != CACHED:
            error = DeviceMemoryError if number == 5 else NonFiniteScoreError
            assert isinstance(row.error, error) and row.key is None and row.score is None
            continue
        raw = raw_of(number)
        is_clip = "clip" in item.media
        assert row.score is not None and row.kind == ("video" if is_clip else "image")
        found = AxisColumns.of(row.score.axes)
        count = len(AXES) if is_clip else len(AXES) - 1
        assert tuple(found.mus) == raw.mu[:count]
        assert tuple(found.means) == tuple(float(np.float32(sigmoid(m))) for m in raw.mu[:count])
        assert row.score.scalar == raw.scalar
        key = None if name == PIXELS else content_key(row.kind, row.sha256 or "", item.prompt)
        assert row.key == key
        launched += name == PIXELS or (name != CACHED and item.media not in scored)
        scored.add(item.media)
    assert engine.work.forwards == len(model.seen)
    assert launched == len([number for number in model.seen if number not in model.outputs])
    new = {digest_of(one): one for one in scored if not one.startswith((PIXELS, CACHED))}
    assert sorted(new) == sorted(digest for _, digest, _, _ in cache.added)
    for _, digest, _, score in cache.added:
        assert score.raw == raw_of(int(new[digest].split("-")[1]))


def test_the_next_window_is_larger_after_quick_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window_size, "QUICK_S", 0.05)
    times = iter([0.0, 0.01, 0.02, 0.03, 0.04, 1.0, 1.015, 1.055])
    size = WindowSize(100, lambda: next(times))
    found = []
    for _ in range(7):
        size.note(size.items)
        found.append(size.items)
    # Twice as large at most, 8 times the usual size at most, and as many as take 50 ms.
    assert found == [200, 400, 800, 800, 100, 200, 200]


@pytest.mark.parametrize("is_slow", [True, False])
def test_large_windows_have_the_rows_and_batches_of_usual_ones(
    tiny: LibreHPS, monkeypatch: pytest.MonkeyPatch, is_slow: bool
) -> None:
    """The rest of a set that turns out to be slow is decoded as another set."""
    names, rng = ["file", "clip", BROKEN, PIXELS, CACHED], np.random.default_rng(5)
    chosen = rng.integers(0, (len(names), 300), (700, 2)).tolist()
    items: list[Item] = [
        Item(str(at), f"{names[name]}-{number}", f"prompt {number % 3}")
        for at, (name, number) in enumerate(chosen)
    ]
    # Not all of these are local files, which are taken in usual numbers.
    items[150] = replace(items[150], problem=EmptyFileError("no such row"))
    items[200] = replace(items[200], media=Path("file-7"))
    monkeypatch.setattr(LocalEngine, "window_size", lambda *_: 16)
    found, taken, large = [], list[Item](), 16 * MAX_GROWTH
    for seconds in (0.0, 1e9):
        taken.clear()
        monkeypatch.setattr(window_size, "QUICK_S", seconds)
        monkeypatch.setattr(stage, "QUICK_S", -1.0 if is_slow else 1e9)
        model = Model()
        engine = engine_of(tiny, model, NoCache(), ScoreCache())
        windows, left = [], 0
        for rows in engine.windows(taken.append(item) or item for item in items):
            windows += [rows]
            left += len(rows)
            # Two sets are decoded or wait, and two windows are on the device.
            assert len(taken) - left <= 2 * large + 2 * (16 if is_slow else large)
        found.append((chain.from_iterable(windows), sorted(model.batches)))
        sizes = [len(rows) for rows in windows]
        assert max(sizes) == (large if seconds and not is_slow else 16)
    (usual, batches), (grown, others) = found
    assert [*map(ScoredRow.to_dict, grown)] == [*map(ScoredRow.to_dict, usual)]
    assert batches == others


def test_rows_leave_while_an_item_takes_long(
    tiny: LibreHPS, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows that are done do not wait until the next window is decoded."""
    monkeypatch.setattr(in_flight, "LONG_WAIT_S", 0.001)
    monkeypatch.setattr(LocalEngine, "window_size", lambda *_: 8)
    is_there, items = threading.Event(), [Item(str(at), f"file-{at}", "x") for at in range(24)]
    engine = engine_of(tiny, Model(), None, ScoreCache())
    decode = engine.decoder.decode

    def slow(item: Item, content: Any) -> Decoded:
        if item.id == "12":
            assert is_there.wait(10)
        return decode(item, content)

    monkeypatch.setattr(engine.decoder, "decode", slow)
    found = []
    for rows in engine.windows(items):
        found += [row.item.id for row in rows]
        if len(found) == 8:
            is_there.set()
    assert is_there.is_set() and found == [item.id for item in items]


def test_a_stop_leaves_a_prefix_of_the_rows(
    tiny: LibreHPS, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batches are of items of one length, so that a stop between two leaves gaps."""
    monkeypatch.setattr(LocalEngine, "window_size", lambda *_: 45)
    monkeypatch.setattr(device, "lanes_of", lambda *_: 1)
    items = [Item(str(at), f"file-{at}", "x") for at in range(180)]
    model, cache = Model(), NoCache()
    model.outputs = dict.fromkeys(range(80, 90), NOTHING)
    engine = engine_of(tiny, model, cache, ScoreCache())
    engine.stop = threading.Event()
    launch = model.launch

    def stopping(batch: Sequence[Prepared]) -> Any:
        if len(model.batches) == 14:
            engine.stop.set()
        return launch(batch)

    monkeypatch.setattr(model, "launch", stopping)
    windows = list(engine.windows(items))
    assert all(len(one.widths) == len(one) for one in windows)
    rows = list(chain.from_iterable(windows))
    assert 45 <= len(rows) < 80
    for at, row in enumerate(rows):
        assert row.item.id == str(at) and row.score is not None
        assert row.score.overall.raw_mean == raw_of(at).mu[0]
    # What was scored after the first gap is not lost.
    numbers = {digest_of(item.media): at for at, item in enumerate(items)}
    added = {numbers[digest]: score.raw for _, digest, _, score in cache.added}
    seen = set(model.seen) - model.outputs.keys()
    assert added == {number: raw_of(number) for number in seen}
    assert len(rows) < len(seen) < len(model.seen)


def test_a_batch_that_became_too_large_is_scored_in_parts() -> None:
    model: Any = Model()
    launcher = device.Launcher(model, 2, threading.Event())
    [future] = launcher.submit([[replace(NOT_PREPARED, vision=at) for at in range(5)]])
    assert list(future.result()) == list(map(raw_of, range(5)))
    assert model.batches == [[0, 1], [2, 3], [4]]
    launcher.close()


def test_outputs_of_a_batch_that_was_stopped_are_of_its_first_items() -> None:
    outputs, error = Outputs(6, len(AXES)), DeviceMemoryError("out of memory")
    outputs.put_batches([([5, 0, 2, 4], [raw_of(5), error]), ([1, 3], [raw_of(1)])])
    assert outputs.is_there.tolist() == [True, True, False, False, False, True]
    assert [outputs.score(at) for at in (0, 1, 2, 5)] == [None, raw_of(1), None, raw_of(5)]
    first, end = outputs.first()
    assert end == len(first) == 2 and first.errors == {0: error} and first.score(1) == raw_of(1)


def test_means_are_those_of_pythons_exp() -> None:
    rng = np.random.default_rng(0)
    mus = np.concatenate([rng.normal(0, scale, 2000) for scale in (1, 10, 200)])
    mus[:14] = [0, -0.0, 17, -17, 36.7, -87.4, -103.3, -104, -700, -745.2, -1e4, 1e4, 1e300, -1e300]
    # Means that are close to the middle between two numbers of float32.
    low = np.float32(0.3)
    middle = (float(low) + float(np.nextafter(low, np.float32(1)))) / 2
    mus[14:114] = math.log(middle / (1 - middle)) + np.arange(-50, 50) * 1e-16
    raws = [RawScore((mu,), (1.0,)) for mu in mus.tolist()]
    raws[200:202] = [RawScore((math.nan,), (1.0,)), RawScore((1.0,), (-math.inf,))]
    raws[202] = RawScore((1.0,), (1.0,), math.nan)
    item, decoded = Item("a", "a.png", "x"), Decoded(NOT_PREPARED, "image", 1, 1, None, 1)
    count = len(raws)
    outputs = Outputs.of(raws, 1)
    columns = decoded_columns([decoded] * count)
    rows = scored_rows([item] * count, columns, outputs, [None] * count, ("overall",))
    expected = [float(np.float32(sigmoid(raw.mu[0]))) for raw in raws]
    expected[200:203] = [math.nan] * 3
    assert np.array_equal(rows.numbers[0, 0], expected, equal_nan=True)
    bad = [at for at, error in enumerate(rows.errors) if error is not None]
    assert bad == [200, 201, 202] and isinstance(rows.errors[200], NonFiniteScoreError)
    assert rows.widths[200] is None and rows.scalars[202] is None
    assert len(no_rows(AXES)) == 0


def test_keys_of_many_are_those_of_each() -> None:
    hashes = [hashlib.sha256(str(at).encode()).hexdigest() for at in range(20)]
    # A prompt may be the name of a kind.
    prompts = [None, "", "a", "b", "\ud800", "image", "video"]
    good = [(k, h, p) for k in ("image", "video") for h in hashes for p in prompts]
    # As in a table that somebody edited: of other lengths, which together are as long as usual.
    damaged = ["", "x" * 63, "ab" * 32 + "c", "ab" * 31 + " a", "猫" * 64, hashes[0][:-1]]
    rows = [*good, *(("image", h, "a") for h in damaged)]
    keys = content_keys(*map(list, zip(*rows, strict=True)))
    assert keys == [content_key(*row) for row in rows]
    assert keys[: len(good)] == content_keys(*map(list, zip(*good, strict=True)))
    # No prompt and an empty one are the same.
    assert len(set(keys)) == len(rows) - len(good) // len(prompts)
    assert content_keys([], [], []) == []
