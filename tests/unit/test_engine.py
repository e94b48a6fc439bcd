"""The engine: what it reuses, how it gives way, what a changing disk does to it."""

import gc
import hashlib
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from pathlib import Path

import psutil
import pytest
import torch

from conftest import MEDIA
from librehps import Item, LibreHPS
from librehps.engine.device import Launcher
from librehps.engine.lanes import lanes_of
from librehps.engine.stage import without_frames
from librehps.errors import (
    BrokenMediaError,
    DeviceMemoryError,
    MediaError,
)
from librehps.media.media import Media
from librehps.models.librehps.backbone import ModelInputs
from librehps.runs.imports import MIN_NEW_OBJECTS, loaded_frozen
from make_media import clip, picture
from processes import children


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for index in range(12):
        picture(64 + 32 * (index % 3), 64, seed=index).save(tmp_path / f"{index:02}.png")
    return tmp_path


def items(folder: Path, prompt: str = "x") -> list[Item]:
    return [Item(p.name, p, prompt) for p in sorted(folder.glob("*.*"))]


def test_one_content_under_one_prompt_is_scored_once(folder: Path, tiny: LibreHPS) -> None:
    shutil.copy(folder / "00.png", folder / "copy.png")
    engine = tiny.engine(batch_size=2)
    rows = list(engine.run([*items(folder), *items(folder), *items(folder, "y")]))
    assert engine.work.forwards == 2 * 12
    assert engine.work.rows == len(rows) == 3 * 13
    by_id = {row.item.id: row for row in rows[:13]}
    assert by_id["copy.png"].score == by_id["00.png"].score
    assert [row.score for row in rows[:13]] == [row.score for row in rows[13:26]]
    assert by_id["01.png"].score != rows[27].score
    digest = hashlib.sha256((folder / "00.png").read_bytes()).hexdigest()
    assert by_id["copy.png"].sha256 == digest


class SmallDevice(torch.nn.Module):
    """A stand-in for a device that is full at some batch: no real one can be filled on demand."""

    def __init__(self, model: torch.nn.Module, room: int) -> None:
        super().__init__()
        self.model, self.room, self.batches = model, room, []  # type: ignore[var-annotated]

    def forward(self, inputs: ModelInputs) -> object:
        self.batches.append(len(inputs.last))
        if len(inputs.last) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return self.model(inputs)


@pytest.mark.parametrize("room", [0, 1, 3])
def test_a_full_device_halves_the_batch_and_goes_on(
    folder: Path, tiny: LibreHPS, room: int, caplog: pytest.LogCaptureFixture
) -> None:
    expected = [row.score for row in tiny.score_items(items(folder))]
    engine = tiny.engine(batch_size=8)
    small = SmallDevice(engine.model.network, room)
    engine.model = replace(engine.model, network=small)
    rows = list(engine.run(items(folder)))
    if room == 0:
        assert all(isinstance(row.error, DeviceMemoryError) for row in rows)
        return
    for row, score in zip(rows, expected, strict=True):
        assert row.score is not None
        assert score is not None
        assert row.score.overall.raw_mean == pytest.approx(score.overall.raw_mean, abs=2e-3)
    # 8 is too many once, then never again.
    assert [size for size in small.batches if size > 4] == [8]
    assert "batch size is now" in caplog.text


def test_other_failures_of_the_device_are_not_hidden(folder: Path, tiny: LibreHPS) -> None:
    engine = tiny.engine()

    def broken(inputs: ModelInputs) -> object:
        raise RuntimeError("device-side assert triggered")

    engine.model = replace(engine.model, network=broken)
    with pytest.raises(RuntimeError, match="device-side assert"):
        list(engine.run(items(folder)))


def test_failures_of_the_program_while_decoding_are_not_hidden(
    folder: Path, tiny: LibreHPS
) -> None:
    def broken(item: Item, content: Media) -> Item:
        if item.id == "05.png":
            raise RuntimeError("a bug")
        return item

    engine = tiny.engine()
    engine.find_prompt = broken
    with pytest.raises(RuntimeError, match="a bug"):
        list(engine.run(items(folder)))


class SharedDevice(torch.nn.Module):
    """A stand-in for one whose memory lasts for one batch at a time, of any size."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model, self.taken, self.refused = model, threading.Lock(), threading.Event()

    def forward(self, inputs: ModelInputs) -> object:
        if not self.taken.acquire(blocking=False):
            self.refused.set()
            raise torch.OutOfMemoryError("CUDA out of memory")
        try:
            # The first batch lasts until another has found no memory.
            assert self.refused.wait(60)
            return self.model(inputs)
        finally:
            self.taken.release()


def test_an_item_that_fits_alone_is_scored(folder: Path, tiny: LibreHPS) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        engine = tiny.engine(batch_size=1)
        engine.model = replace(engine.model, network=SharedDevice(engine.model.network))
        assert [row.status for row in engine.run(items(folder))] == ["ok"] * 12
    finally:
        torch.set_num_threads(before)


class Watched(torch.nn.Module):
    """The model, and how many threads of torch each of its batches had."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model, self.threads = model, []  # type: ignore[var-annotated]

    def forward(self, inputs: ModelInputs) -> object:
        self.threads.append(torch.get_num_threads())
        return self.model(inputs)


def test_batches_share_the_cores(folder: Path, tiny: LibreHPS) -> None:
    """Many batches have a core each; one alone has them all, and so has the caller again."""
    before = torch.get_num_threads()
    engine = tiny.engine(batch_size=1)
    watched = Watched(engine.model.network)
    engine.model = replace(engine.model, network=watched)
    list(engine.run(items(folder)))
    assert set(watched.threads) == {1}
    assert torch.get_num_threads() == before
    watched.threads.clear()
    torch.set_num_threads(1)
    try:
        list(engine.run(items(folder, "z")))
        assert torch.get_num_threads() == 1, "what the caller chose after loading holds"
    finally:
        torch.set_num_threads(before)
    watched.threads.clear()
    list(engine.run(items(folder, "y")[:1]))
    assert watched.threads == [before]


def test_a_batch_beside_a_running_one_has_the_rest_of_the_cores(
    folder: Path, tiny: LibreHPS
) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    engine, second = tiny.engine(), threading.Event()
    prepared = [engine.prepare(item).decoded.prepared for item in items(folder)[:2]]

    class Meeting(Watched):
        """Holds the first batch until the second has started."""

        def forward(self, inputs: ModelInputs) -> object:
            is_first = not self.threads
            found = super().forward(inputs)
            assert second.wait(60) if is_first else not second.set()
            return found

    watched = Meeting(engine.model.network)
    launcher = Launcher(replace(engine.model, network=watched), 1, threading.Event())
    try:
        first = launcher.submit([prepared[:1]])
        while not watched.threads:
            assert not first[0].done()
        [one.result() for one in (*first, *launcher.submit([prepared[1:]]))]
        [one.result() for one in launcher.submit([prepared[:1]])]
        assert watched.threads == [2, 1, 2]
    finally:
        launcher.close()
        torch.set_num_threads(before)


@pytest.mark.slow
def test_runs_side_by_side_leave_the_threads_alone(folder: Path, tiny: LibreHPS) -> None:
    before = torch.get_num_threads()

    def run() -> int:
        rows = list(tiny.engine(batch_size=1).run(items(folder)))
        assert all(row.status == "ok" for row in rows)
        return torch.get_num_threads()

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(lambda _: run(), range(6))) == [before] * 6
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(torch.get_num_threads).result() == before


def test_what_is_read_is_what_is_scored(folder: Path, tiny: LibreHPS) -> None:
    """A file that changes after it was listed: its row is of the new content."""
    listed = items(folder)[:1]
    picture(96, 96, seed=99).save(folder / "00.png")
    [row] = tiny.score_items(listed)
    assert (row.width, row.height) == (96, 96)
    assert row.sha256 == hashlib.sha256((folder / "00.png").read_bytes()).hexdigest()


def test_a_clip_that_changes_while_it_is_read_is_an_error(tmp_path: Path) -> None:
    file = clip(tmp_path / "a.mp4")
    with pytest.raises(BrokenMediaError, match="changed while"), Media(file).as_file():
        file.write_bytes(file.read_bytes() + b"x")


def test_what_must_not_be_fetched_is_not(tmp_path: Path, tiny: LibreHPS) -> None:
    picture().save(tmp_path / "a.png")
    problem = MediaError("refused")
    asked = []
    engine = tiny.engine(lambda item, content: asked.append(item) or item)
    [row] = engine.run([Item("a", tmp_path / "a.png", None, problem=problem)])
    assert row.error is problem
    assert asked == []


def test_clips_in_bytes(tiny: LibreHPS, tmp_path: Path) -> None:
    file = clip(tmp_path / "a.mp4")
    by_path, by_bytes = tiny.score_items([Item("p", file, "x"), Item("b", file.read_bytes(), "x")])
    assert by_bytes.kind == "video"
    assert by_bytes.score == by_path.score
    [broken] = tiny.score_items([Item("c", file.read_bytes()[:3000], "x")])
    assert broken.status == "error"
    assert "librehps-" not in str(broken.error)


@pytest.mark.slow
def test_killed_decoders_cost_at_most_their_clips(tmp_path: Path, tiny: LibreHPS) -> None:
    for index in range(24):
        clip(tmp_path / f"{index:02}.mp4", frames=4 + index)
    over, killed = threading.Event(), []

    def killing() -> None:
        while not over.wait(0.05):
            # One may end between the look and the kill.
            with suppress(psutil.NoSuchProcess):
                for child in islice(children("video_worker"), 8 - len(killed)):
                    child.kill()
                    killed.append(child.pid)

    killer = threading.Thread(target=killing)
    killer.start()
    try:
        rows = list(tiny.engine(batch_size=4).run(items(tmp_path)))
    finally:
        over.set()
        killer.join()
    assert [row.item.id for row in rows] == [f"{index:02}.mp4" for index in range(24)]
    kinds = {type(row.error).__name__ for row in rows if row.error}
    assert killed
    assert kinds <= {"DecoderCrashError"}
    again = list(tiny.score_items(row.item for row in rows if row.error))
    assert all(row.status == "ok" for row in again)


def test_a_stopped_run_gives_a_prefix(folder: Path, tiny: LibreHPS) -> None:
    engine = tiny.engine(batch_size=1)
    # Two windows are on the device at a time; whatever follows them is not begun.
    window = engine.window_size(lanes_of(engine.model.device, torch.get_num_threads()))
    [first, *_] = items(folder)
    listed = [replace(first, id=f"{at}", prompt=f"prompt {at}") for at in range(4 * window)]
    rows = []
    for row in engine.run(listed):
        rows.append(row)
        engine.stop.set()
    assert 0 < len(rows) < len(listed)
    assert [row.item.id for row in rows] == [f"{at}" for at in range(len(rows))]


@pytest.mark.slow
def test_golden_clips_and_stills_in_one_run(golden: LibreHPS) -> None:
    """Whatever the window holds, each row is what it would be alone."""
    names = ["clip8.mp4", "small.png"]
    mixed = [Item(f"{n}{k}", MEDIA / n, f"prompt {k}") for k in range(3) for n in names]
    rows = list(golden.engine(batch_size=2).run(mixed))
    for row in rows:
        [alone] = golden.engine(batch_size=1).run([row.item])
        assert row.score is not None
        assert alone.score is not None
        assert row.score.overall.raw_mean == pytest.approx(alone.score.overall.raw_mean, abs=2e-3)


def test_an_error_row_keeps_no_media_in_memory(tmp_path: Path, tiny: LibreHPS) -> None:
    """Frames of an error refer to the media, which only the garbage collector would free."""
    file = tmp_path / "a.png"
    picture().save(file)
    file.write_bytes(file.read_bytes()[:60])
    found = [*tiny.score_items([Item("a", file, "x"), Item("b", tmp_path / "b.png", "x")])]
    errors = [row.error for row in found]
    while errors := [error for error in errors if error is not None]:
        assert [error.__traceback__ for error in errors] == [None] * len(errors)
        errors = [error.__cause__ or error.__context__ for error in errors]


def test_runs_at_once_leave_the_garbage_collector_as_it_was() -> None:
    before = gc.get_threshold(), gc.get_freeze_count() > 0
    first, second = loaded_frozen(), loaded_frozen()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert gc.get_threshold()[0] == MIN_NEW_OBJECTS
    with suppress(KeyboardInterrupt), loaded_frozen():
        raise KeyboardInterrupt
    assert gc.get_freeze_count() > 0
    second.__exit__(None, None, None)
    assert (gc.get_threshold(), gc.get_freeze_count() > 0) == before


def test_errors_that_are_each_others_causes_are_freed() -> None:
    one, two = BrokenMediaError("one"), OSError("two")
    one.__cause__, two.__context__ = two, one
    with suppress(OSError):
        raise two
    two.__context__ = one
    assert without_frames(one) is one
    assert two.__traceback__ is None
