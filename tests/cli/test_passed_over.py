"""Files and folders that a run passes over: each is counted or named, and none stops the run."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import EXAMPLES, Cli
from librehps import score_to
from librehps.errors import UsageError
from librehps.items.source import Source, SourceOptions
from make_media import picture

ONE = ("--prompt", "x", "-m", "tiny")


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """A folder with two pictures and one file of each kind that is passed over."""
    folder = tmp_path / "in"
    (folder / "sub").mkdir(parents=True)
    (folder / ".hidden").mkdir()
    for at, name in enumerate(("a.png", "sub/b.png", ".hidden/c.png", ".d.png")):
        picture(32, 32, seed=at).save(folder / name)
    for name in (
        "a.txt",
        "a.json",
        "b.txt",
        "x.psd",
        "y.PSD",
        "z.mpg",
        "Makefile",
        "n.0a1b2c3d4e5f",
    ):
        (folder / name).write_text("words")
    (folder / "sub" / "b.json").write_text('{"prompt": "words"}')
    (folder / "linked").symlink_to(folder, target_is_directory=True)
    return folder


def test_what_is_passed_over_is_counted_and_named(cli: Cli, mixed: Path, tmp_path: Path) -> None:
    output = tmp_path / "x.jsonl"
    done = cli("score", mixed, *ONE, "-o", output, "--json")
    assert done.returncode == 0, done.stderr
    assert (
        "skipped 10 files: 2 .json, 2 .psd (unsupported media), 2 .txt, 2 without a suffix, "
        "1 .mpg (unsupported media), 1 .png (hidden)"
    ) in done.stderr
    assert "skipped 1 hidden folder\n" in done.stderr
    assert f"skipped 1 linked folder: {mixed}/linked; to score one, give its path" in done.stderr
    summary = json.loads(done.stdout)
    assert (summary["ok"], summary["skipped"]) == (2, 10)
    assert summary["passed_over"]["files"] == {
        "hidden": {".png": 1},
        "unknown type": {"": 2, ".json": 2, ".txt": 2},
        "unsupported media": {".psd": 2, ".mpg": 1},
    }
    assert summary["passed_over"]["linked_folders"] == [f"{mixed}/linked"]


@pytest.mark.parametrize("way", ["sidecar", "auto"])
def test_prompts_that_are_read_are_not_skipped(mixed: Path, tmp_path: Path, way) -> None:
    """a.txt and sub/b.json are prompts; a.json is not read beside a.txt, b.txt has no picture."""
    found = score_to(mixed, tmp_path / "x.jsonl", prompt_from=way, model="tiny")
    assert (found.ok, found.skipped) == (2, 8)
    assert found.passed_over.files["unknown type"] == {"": 2, ".json": 1, ".txt": 1}
    assert found.passed_over.hidden_folders == 1


def test_a_resumed_run_knows_what_was_passed_over(mixed: Path, tmp_path: Path) -> None:
    from threading import Event

    class Stopped(Event):
        """Set once the listing has been made."""

        def is_set(self) -> bool:
            return (tmp_path / "x.jsonl.journal" / "run.json").exists() or super().is_set()

    first = score_to(mixed, tmp_path / "x.jsonl", prompt="x", model="tiny", stop=Stopped())
    assert first.interrupted and first.remaining == 2
    again = score_to(mixed, tmp_path / "x.jsonl", prompt="x", model="tiny", resume=True)
    assert (again.ok, again.passed_over) == (2, first.passed_over)
    assert again.passed_over.files["unsupported media"] == {".psd": 2, ".mpg": 1}


def test_a_folder_that_is_removed_during_the_search(mixed: Path) -> None:
    (mixed / "later").mkdir()
    source = Source([str(mixed)], SourceOptions())
    items = source.items()
    found = [next(items).id]
    shutil.rmtree(mixed / "later")
    found += [item.id for item in items]
    assert found == ["a.png", "sub/b.png"]
    assert source.passed_over.unreadable_folders == {
        str(mixed / "later"): "No such file or directory"
    }


@pytest.fixture
def too_deep(tmp_path: Path) -> Iterator[Path]:
    """A folder that nobody can read by its path, not even root: the path is too long."""
    folder = top = tmp_path / "deep"
    shutil.copytree(
        EXAMPLES / "media", top, ignore=lambda _, names: [n for n in names if "match" not in n]
    )
    place = os.open(top, os.O_RDONLY)
    for _ in range(20):
        os.mkdir("d" * 250, dir_fd=place)
        above, place = place, os.open("d" * 250, os.O_RDONLY, dir_fd=place)
        os.close(above)
    os.close(place)
    yield folder
    shutil.rmtree(top)


@pytest.mark.parametrize("options", [("-o", "{}/x.jsonl", "-q"), ("--json",), ("--table", "-q")])
def test_an_unreadable_folder_costs_itself(
    cli: Cli, too_deep: Path, tmp_path: Path, options: tuple[str, ...]
) -> None:
    done = cli("score", too_deep, *ONE, *(option.format(tmp_path) for option in options))
    assert done.returncode == 3, done.stderr
    assert "error: 1 folder cannot be read: " in done.stderr
    assert "(File name too long)" in done.stderr
    assert "Traceback" not in done.stderr
    if "-o" in options:
        assert (tmp_path / "x.jsonl").read_text().count("\n") == 1


def test_an_unreadable_folder_costs_a_choice_itself(cli: Cli, too_deep: Path) -> None:
    done = cli("best-of-n", too_deep, *ONE)
    assert done.stdout == f"{too_deep}/match.png\n"
    assert "error: 1 folder cannot be read: " in done.stderr
    assert done.returncode == 3


def test_nothing_but_other_files(tmp_path: Path) -> None:
    (tmp_path / "a.psd").write_bytes(b"x")
    (tmp_path / "link").symlink_to(tmp_path, target_is_directory=True)
    with pytest.raises(
        UsageError, match=r"skipped 1 file: 1 \.psd \(unsupported media\); skipped 1"
    ):
        list(Source([str(tmp_path)], SourceOptions()).items())


def test_patterns_count_what_they_leave_out(tmp_path: Path) -> None:
    for name in ("a.png", "b.jpg", "c.jpg"):
        (tmp_path / name).write_bytes(b"x")
    source = Source([str(tmp_path / "*.png")], SourceOptions())
    assert [item.id for item in source.items()] == ["a.png"]
    assert [*source.passed_over.notes()] == ["skipped 2 files: 2 .jpg (outside the pattern)"]
