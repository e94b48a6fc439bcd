"""The score cache on disk: later runs take scores from it, and no damaged entry is believed."""

import logging
import multiprocessing
import shutil
import sqlite3
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from conftest import Cli
from librehps import LibreHPS, score_to
from librehps.engine.device import Launcher
from librehps.engine.disk_cache import CachedScore, DiskCache, cache_folder
from librehps.models.base import RawScore
from librehps.runs.observer import RunObserver
from librehps.runs.progress import RunProgress
from make_media import clip, picture
from preference_data import write_rows


class Forwards(RunObserver):
    """The number of forwards of a run."""

    count = -1

    def advanced(self, progress: RunProgress) -> None:
        self.count = progress.work.forwards


@pytest.fixture
def media(tmp_path: Path) -> Path:
    folder = tmp_path / "media"
    folder.mkdir()
    for index in range(3):
        picture(64, 48 + index, seed=index).save(folder / f"{index}.png")
    picture(40, 40).convert("RGBA").save(folder / "alpha.webp")
    clip(folder / "clip.mp4", frames=4)
    (folder / "broken.png").write_bytes(b"no picture")
    return folder


def assert_close(rows: list[dict], expected: list[dict]) -> None:
    assert [row.keys() for row in rows] == [row.keys() for row in expected]
    for row, other in zip(rows, expected, strict=True):
        for name, value in other.items():
            bound = pytest.approx(value, abs=2e-3) if isinstance(value, float) else value
            assert row[name] == bound, name


def run(media: Path, out: Path, model: LibreHPS, cache: Path | str | None) -> tuple[list, int]:
    seen = Forwards()
    score_to(media, out, prompt="a cat", model=model, columns="full", observer=seen, cache=cache)
    return pq.read_table(out).to_pylist(), seen.count


def test_a_second_run_in_another_folder_costs_no_forward(
    media: Path, tmp_path: Path, tiny: LibreHPS
) -> None:
    cache = tmp_path / "cache"
    first, forwards = run(media, tmp_path / "a.parquet", tiny, cache)
    assert forwards == 5
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(media, elsewhere)
    second, forwards = run(elsewhere, tmp_path / "b.parquet", tiny, cache)
    assert forwards == 0
    place = {"media", "error"}
    assert [{k: v for k, v in row.items() if k not in place} for row in first] == [
        {k: v for k, v in row.items() if k not in place} for row in second
    ]
    # What changed is scored, and only that.
    picture(64, 48, seed=9).save(elsewhere / "0.png")
    rows, forwards = run(elsewhere, tmp_path / "c.parquet", tiny, cache)
    assert forwards == 1
    fresh, _ = run(elsewhere, tmp_path / "d.parquet", tiny, "none")
    # Not bit for bit: batches of other items were computed.
    assert_close(rows, fresh)


def test_other_prompts_and_settings_are_scored(
    media: Path, tmp_path: Path, tiny: LibreHPS, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIBREHPS_CACHE", str(tmp_path / "cache"))
    run(media, tmp_path / "a.parquet", tiny, None)
    seen = Forwards()
    score_to(media, tmp_path / "b.parquet", prompt="a dog", model=tiny, observer=seen)
    assert seen.count == 5
    options = {"prompt": "a cat", "model": "tiny", "background": "black", "observer": seen}
    score_to(media, tmp_path / "c.parquet", **options)
    assert seen.count == 5


@pytest.mark.slow
def test_commands_and_python_share_the_scores_of_a_folder(
    media: Path, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, (one, two) = tmp_path / "cache", (media / "0.png", media / "1.png")
    pair = {"prompt": "x", "media_a": str(one), "media_b": str(two), "overall": 1.0}
    pairs = write_rows(tmp_path / "pairs.jsonl", [pair, pair])
    model = LibreHPS.from_pretrained("tiny", cache=folder)
    scored = [*model.score_items([one, two], prompt="x")]
    assert all(row.score is not None for row in scored)

    def refuse(*_: object) -> None:
        raise AssertionError("a batch was submitted")

    # What is cached needs no forward.
    monkeypatch.setattr(Launcher, "submit", lambda self, batches: refuse() if batches else [])
    again = LibreHPS.from_pretrained("tiny").score_items([one, two], prompt="x", cache=folder)
    assert [row.score for row in again] == [row.score for row in scored]
    flags = ("-m", "tiny", "--cache", folder, "--json", "-q")
    commands = (
        ("score", media / "0.png", "-p", "x"),
        ("best-of-n", one, two, "-p", "x"),
        ("compare", one, two, "-p", "x"),
        ("compare", pairs),
        ("compare", pairs, "-o", tmp_path / "verdicts.jsonl"),
        ("evaluate", pairs, "--split", "all"),
    )
    for command in commands:
        done = cli(*command, *flags)
        assert done.returncode == 0, done.stderr
    with pytest.raises(AssertionError, match="submitted"):
        [*model.score_items([one], prompt="x", cache="none")]
    assert [file.name for file in folder.iterdir()] == ["scores-1.sqlite"]
    assert cache_folder("none") is None


SCORE = CachedScore(RawScore((0.1, 1 / 3), (1e-300, 2.0), None), 7, 5, (0, 3), frozenset({"r"}))


def fill(folder: Path, start: int, count: int) -> None:
    cache = DiskCache(folder, "settings")
    for first in range(start, start + count, 10):
        numbers = range(first, first + 10)
        cache.add(("image", f"{number:064x}", "p", SCORE) for number in numbers)
    cache.close()


def found(folder: Path, count: int) -> int:
    cache = DiskCache(folder, "settings")
    hits = [cache.find("image", f"{number:064x}", "p") for number in range(count)]
    cache.close()
    assert all(hit in (None, SCORE) for hit in hits)
    return sum(hit is not None for hit in hits)


def test_two_processes_share_a_cache(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("fork")
    both = [spawn.Process(target=fill, args=(tmp_path, 40 * at, 40)) for at in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join()
    assert [process.exitcode for process in both] == [0, 0]
    assert found(tmp_path, 80) == 80


def torn(file: Path) -> None:
    """Leave the second half of every page as zeros, as after a power loss."""
    content = bytearray(file.read_bytes())
    for start in range(4096, len(content), 4096):
        content[start + 2048 : start + 4096] = bytes(2048)
    file.write_bytes(content)


def changed(file: Path) -> None:
    """Change a digit of each score."""
    content = file.read_bytes()
    assert b"0.3333" in content
    file.write_bytes(content.replace(b"0.3333", b"0.3343"))


def of_another_version(file: Path) -> None:
    with sqlite3.connect(file) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:5000])


def foreign(file: Path) -> None:
    file.write_bytes(b"not a database" * 1000)


@pytest.mark.parametrize("damage", [torn, changed, of_another_version, cut, foreign])
def test_a_damaged_cache_is_not_believed(
    damage: object, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fill(tmp_path, 0, 100)
    damage(tmp_path / "scores-1.sqlite")  # type: ignore[operator]
    with caplog.at_level(logging.WARNING, "librehps"):
        assert found(tmp_path, 100) < 100
        assert caplog.text.count("score cache") == 1
        assert "scores-1.sqlite: invalid file" in caplog.text
        fill(tmp_path, 0, 100)
        assert found(tmp_path, 100) == 100
        assert caplog.text.count("score cache") == 1


def test_a_cache_without_room_fails_no_run(
    media: Path, tmp_path: Path, tiny: LibreHPS, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("a file, where a folder is expected")
    with caplog.at_level(logging.WARNING, "librehps"):
        rows, forwards = run(media, tmp_path / "a.parquet", tiny, tmp_path / "file")
    assert (len(rows), forwards) == (6, 5)
    assert caplog.text.count("not used any more") == 1


def test_the_oldest_entries_leave_a_full_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    days = iter(range(100, 10_000))
    monkeypatch.setattr("librehps.engine.disk_cache._today", lambda: next(days))
    cache = DiskCache(tmp_path, "settings", max_bytes=40_000)
    for first in range(0, 600, 20):
        numbers = range(first, first + 20)
        cache.add(("image", f"{number:064x}", "p", SCORE) for number in numbers)
        assert cache.find("image", f"{0:064x}", "p") == SCORE
    hits = [cache.find("image", f"{number:064x}", "p") is not None for number in range(600)]
    cache.close()
    assert hits[0]
    assert hits[-1]
    assert not any(hits[1:100])
    assert (tmp_path / "scores-1.sqlite").stat().st_size < 60_000
