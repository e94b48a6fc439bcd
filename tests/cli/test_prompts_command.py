"""librehps prompts, and the prompts of files in librehps score."""

import json
import os
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from conftest import Cli
from embedded import NEGATIVE, png
from librehps.media.media import Media
from librehps.media.metadata.texts import Found
from librehps.runs.prompts import list_prompts
from librehps.types import Item
from make_media import picture
from run_data import rows_of

FIXTURES = Path(__file__).parents[1] / "data" / "prompts"
LORA = "a red circle <lora:x:0.8>"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Pictures with a prompt in a sidecar, in metadata, and without a prompt; one is damaged."""
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("1.png", "3.png"):
        picture(32, 32).save(folder / name)
    (folder / "1.txt").write_text(LORA)
    (folder / "2.png").write_bytes(png(parameters=f"a blue\nsquare\n{NEGATIVE}"))
    (folder / "4.png").write_bytes(png()[:20])
    (folder / "notes.md").write_text("x")
    return folder


def test_prompts_as_json(cli: Cli, folder: Path) -> None:
    done = cli("prompts", folder, "--prompt-from", "auto", "--json")
    assert done.returncode == 3
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(r["id"], r["prompt"], r["source"], r["error_type"]) for r in rows] == [
        ("1.png", "a red circle", "sidecar", None),
        ("2.png", "a blue\nsquare", "a1111", None),
        ("3.png", None, None, "PromptError"),
        ("4.png", None, None, "BrokenMediaError"),
    ]
    said = done.stderr
    assert "2 prompts found: 1 from sidecar, 1 from a1111" in said
    assert "2 items without a prompt:" in said
    assert "1: no prompt: not found in a column, in FILE.txt or .json" in said
    assert "1 prompt had <lora:...> tags" in said and "skipped 1 file: 1 .md" in said


def test_reasons_without_the_names_of_files(cli: Cli, tmp_path: Path) -> None:
    """A name of one letter is not replaced within the words of a reason."""
    os.chdir(tmp_path)
    for name in ("a.png", "e.png"):
        picture(32, 32).save(name)
        os.mkfifo(f"{name[0]}.txt")
        picture(32, 32).save(f"x{name}")
    done = cli("prompts", "a.png", "e.png", "xa.png", "xe.png")
    assert "2: prompt file FILE.txt is not a regular file" in done.stderr
    assert (
        "2: no prompt: not found in a column, in FILE.txt or .json, or in the file's metadata"
        in done.stderr
    )


def test_closing_the_list_ends_the_search(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[str] = []
    is_closing = threading.Event()

    class Pool(ThreadPoolExecutor):
        def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
            super().shutdown(False, cancel_futures=cancel_futures)
            is_closing.set()
            super().shutdown(wait)

    def find(item: Item, content: Media) -> Found:
        taken.append(item.id)
        if len(taken) > 1:
            is_closing.wait()
        return Found("a cat", "sidecar")

    monkeypatch.setattr("librehps.runs.prompts.ThreadPoolExecutor", Pool)
    monkeypatch.setattr("librehps.runs.prompts.WORKERS", 1)
    found = list_prompts(folder, prompt_from="sidecar")
    monkeypatch.setattr(type(found.finder), "find", lambda self, *given: find(*given))
    rows = iter(found)
    next(rows)
    rows.close()  # type: ignore[attr-defined]
    # The second item may have been on the way.
    assert len(taken) <= 2


def test_prompts_as_lines(cli: Cli, folder: Path) -> None:
    done = cli("prompts", folder, "--table", "--keep-markup")
    lines = done.stdout.splitlines()
    assert lines[0] == f"1.png  sidecar: {LORA}"
    assert lines[1] == r"2.png  a1111: a blue\nsquare"
    assert lines[2].startswith("3.png  error: no prompt: not found")
    assert len(lines) == 4 and "lora" not in done.stderr
    quiet = cli("prompts", folder, "--limit", "2", "--quiet")
    assert (quiet.returncode, quiet.stderr, len(quiet.stdout.splitlines())) == (0, "", 2)
    assert cli("prompts", folder / "3.png").returncode == 1


def test_prompts_that_are_given(cli: Cli, folder: Path) -> None:
    done = cli("prompts", folder, "-p", "a ((red)) cat", "--strip-weights")
    assert {json.loads(line)["prompt"] for line in done.stdout.splitlines()} == {"a red cat"}
    assert "4 from option" in done.stderr
    for arguments in (("-p", "x", "--prompt-from", "auto"), ("--prompt-from", "exif")):
        assert cli("prompts", folder, *arguments).returncode == 2
    manifest = folder / "m.csv"
    manifest.write_text("image,caption\n1.png,a cat\n3.png,\n")
    done = cli("prompts", manifest, "--json")
    assert [json.loads(line)["source"] for line in done.stdout.splitlines()] == ["column", None]


def test_prompts_of_clips(cli: Cli, tmp_path: Path) -> None:
    names = ("comfy_save_video.mp4", "vhs_comment.mp4")
    for name in names:
        shutil.copy(FIXTURES / name, tmp_path)
    done = cli("prompts", tmp_path)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(r["id"], r["prompt"], r["source"]) for r in rows] == [
        (name, "a red circle moves to the right", "comfyui") for name in names
    ]


def test_score_takes_the_prompts_that_are_listed(cli: Cli, folder: Path, tmp_path: Path) -> None:
    for name in ("comfy_save_video.mp4", "wrong_crc_of_workflow.png"):
        shutil.copy(FIXTURES / name, folder)
    listed = cli("prompts", folder, "--prompt-from", "auto")
    output = tmp_path / "x.jsonl"
    options = (folder, "-m", "tiny", "--prompt-from", "auto", "-o", output)
    done = cli("score", *options)
    assert done.returncode == 3
    assert "1 prompt had <lora:...> tags, which were removed" in done.stderr
    prompts = {r["id"]: r["prompt"] for r in map(json.loads, listed.stdout.splitlines())}
    scored = {row["id"]: row["prompt"] for row in rows_of(output) if row["status"] == "ok"}
    assert scored == {name: prompt for name, prompt in prompts.items() if prompt is not None}
    assert len(scored) == 4

    again = cli("score", *options, "--resume", "--keep-markup")
    assert again.returncode == 2
    assert "started with keep_markup False, now True" in again.stderr
    assert cli("score", *options, "--resume").returncode == 3
