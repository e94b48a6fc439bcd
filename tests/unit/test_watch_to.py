"""Outputs that follow folders: after each change they equal those of a fresh run."""

import os
import queue
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch

from librehps import LibreHPS, RunSummary, score_to, watch_to
from librehps.errors import UsageError
from librehps.items import settling
from librehps.runs import watch
from librehps.runs.observer import RunObserver
from librehps.runs.progress import RunProgress
from make_media import picture

ANSWER_TIMEOUT_S = 120.0


class Passes(RunObserver):
    """The summaries of passes, as they end; `limit` stops the watch after so many rows."""

    def __init__(self, limit: int | None = None) -> None:
        self.summaries: queue.Queue[RunSummary] = queue.Queue()
        self.stop, self._limit = threading.Event(), limit

    def updated(self, summary: RunSummary) -> None:
        self.summaries.put(summary)

    def advanced(self, progress: RunProgress) -> None:
        if progress.done == self._limit:
            self.stop.set()

    def until(self, total: int, **changes: int) -> RunSummary:
        """Wait for a pass with this many rows, and these changes."""
        while True:
            found = self.summaries.get(timeout=ANSWER_TIMEOUT_S)
            counts = found.changes._asdict()
            if found.total == total and changes.items() <= counts.items() and not found.remaining:
                return found


@pytest.fixture
def model(tiny: LibreHPS, monkeypatch: pytest.MonkeyPatch) -> Iterator[LibreHPS]:
    """Small windows of batches of one, on one core, so that equal means bit for bit.

    Files that are cut wait for ever.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.setattr(tiny, "batch_size", 1)
    monkeypatch.setattr(settling, "PATIENCE_S", 1e6)
    monkeypatch.setattr(settling, "QUIET_S", 0.05)
    monkeypatch.setattr(watch, "PERIOD_FACTOR", 0.0)
    yield tiny
    torch.set_num_threads(threads)


@contextmanager
def watching(folder: Path, output: Path, model: LibreHPS, **options) -> Iterator[Passes]:
    passes, ended = Passes(), []

    def follow() -> None:
        ended.append(watch_to(
            folder, output, model=model, observer=passes, stop=passes.stop, **options
        ))  # fmt: skip

    thread = threading.Thread(target=follow)
    thread.start()
    try:
        yield passes
    finally:
        passes.stop.set()
        thread.join()
    assert isinstance(ended[0], RunSummary)


def fresh(folder: Path, model: LibreHPS, **options) -> list[dict]:
    """The rows of a run that begins anew."""
    output = folder.with_name("fresh.parquet")
    score_to(folder, output, model=model, overwrite=True, **options)
    return pq.read_table(output).to_pylist()


def rows_of(output: Path, columns: list[str]) -> list[dict]:
    return pq.read_table(output, columns=columns).to_pylist()


def save(path: Path, seed: int) -> None:
    picture(64, 64, seed=seed).save(path)


@pytest.mark.slow
def test_an_output_follows_its_folder(tmp_path: Path, model: LibreHPS) -> None:
    folder, output = tmp_path / "in", tmp_path / "x.parquet"
    (folder / "sub").mkdir(parents=True)
    options = {"prompt_from": "sidecar", "columns": "full"}

    def assert_same(rows: int) -> None:
        expected = fresh(folder, model, **options)
        assert len(expected) == rows
        assert rows_of(output, list(expected[0])) == expected

    with watching(folder, output, model, prune=True, **options) as passes:
        assert passes.until(total=0)
        assert pq.read_metadata(output).num_rows == 0
        (folder / "a.txt").write_text("red")
        save(folder / "a.png", 1)
        assert passes.until(total=1).failed == 0
        # Half a file, while another comes whole.
        save(tmp_path / "b.png", 2)
        whole = (tmp_path / "b.png").read_bytes()
        with (folder / "sub" / "b.png").open("wb") as file:
            file.write(whole[: len(whole) // 2])
            file.flush()
            (folder / "sub" / "b.txt").write_text("blue")
            (folder / "c.txt").write_text("green")
            save(folder / "c.png.tmp.png", 3)
            (folder / "c.png.tmp.png").rename(folder / "c.png")
            passes.until(total=2)
            assert [row["id"] for row in rows_of(output, ["id"])] == ["a.png", "c.png"]
            file.write(whole[len(whole) // 2 :])
        assert passes.until(total=3).failed == 0
        assert_same(3)
        (folder / "a.txt").write_text("another")
        passes.until(total=3, changed=1)
        assert_same(3)
        save(folder / "c.png", 4)
        passes.until(total=3, changed=1)
        (folder / "sub").rename(folder / "moved")
        passes.until(total=3, moved=1)
        (folder / "a.png").unlink()
        passes.until(total=2, pruned=1)
        assert_same(2)


@pytest.mark.slow
def test_random_histories(tmp_path: Path, model: LibreHPS) -> None:
    """Many changes at once: in the end the output equals that of a fresh run."""
    folder, output, dice = tmp_path / "in", tmp_path / "in" / "x.parquet", random.Random(7)
    folder.mkdir()
    save(folder / "0.png", 0)
    with watching(folder, output, model, prompt="x", prune=True) as passes:
        for step in range(30):
            files = sorted(folder.rglob("*.png"))
            target = folder / f"{dice.randrange(3)}" / f"{step}.png"
            target.parent.mkdir(exist_ok=True)
            match dice.randrange(5):
                case 0 if len(files) > 1:
                    dice.choice(files).unlink()
                case 1:
                    dice.choice(files).rename(target)
                case 2:
                    save(dice.choice(files), step)
                case _:
                    save(target, step)
            if step % 10 == 9:
                expected = fresh(folder, model, prompt="x")
                while rows_of(output, list(expected[0])) != expected if output.exists() else True:
                    passes.summaries.get(timeout=ANSWER_TIMEOUT_S)


@pytest.mark.slow
def test_a_long_pass_writes_what_it_has(
    tmp_path: Path, model: LibreHPS, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "PASS_S", 0.0)
    folder, output = tmp_path / "in", tmp_path / "x.jsonl"
    folder.mkdir()
    for seed in range(8):
        save(folder / f"{seed}.png", seed)
    (folder / "bad.png").write_text("no picture")
    with watching(folder, output, model, prompt="x") as passes:
        first = passes.summaries.get(timeout=ANSWER_TIMEOUT_S)
        assert 0 < first.remaining < 9
        last = passes.until(total=9)
    assert (last.ok, last.failed) == (8, 1)


def test_a_stop_leaves_a_finished_output(tmp_path: Path, model: LibreHPS) -> None:
    folder, output = tmp_path / "in", tmp_path / "x.parquet"
    folder.mkdir()
    for seed in range(8):
        save(folder / f"{seed}.png", seed)
        os.utime(folder / f"{seed}.png", (0, 0))
    passes = Passes(limit=1)
    options = {"prompt": "x", "model": model}
    summary = watch_to(folder, output, observer=passes, stop=passes.stop, **options)
    assert summary.interrupted
    written = rows_of(output, ["id"])
    assert 0 < len(written) == 8 - summary.remaining < 8
    assert not (tmp_path / "x.parquet.journal").exists()
    again = score_to(folder, output, update=True, prune=True, **options)
    assert again.changes.kept == len(written)
    expected = fresh(folder, model, prompt="x")
    assert rows_of(output, list(expected[0])) == expected


def test_a_removed_folder_keeps_its_rows(tmp_path: Path, model: LibreHPS) -> None:
    folder, output = tmp_path / "in", tmp_path / "x.parquet"
    folder.mkdir()
    save(folder / "a.png", 1)
    with watching(folder, output, model, prompt="x", prune=True) as passes:
        passes.until(total=1)
        folder.rename(tmp_path / "away")
        folder.mkdir()
        save(folder / "b.png", 2)
        passes.until(total=1, new=1)
    assert [row["id"] for row in rows_of(output, ["id"])] == ["b.png"]


def test_what_cannot_be_watched_is_refused_at_once(tmp_path: Path, tiny: LibreHPS) -> None:
    with pytest.raises(UsageError, match="no prompt was given"):
        watch_to(tmp_path, tmp_path / "x.parquet", model=tiny)
    with pytest.raises(UsageError, match="unsupported output format"):
        watch_to(tmp_path, tmp_path / "x.txt", model=tiny, prompt="x")
