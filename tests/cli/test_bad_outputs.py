"""Outputs that cannot be written: one line that says why, before a model is loaded."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import EXAMPLES, Cli
from report_data import scored, write_scores

MATCH = EXAMPLES / "media" / "match.png"
# The longest file name of every common file system.
LONGEST_NAME = 255
WRITERS = {
    "score": ("score", MATCH, "--prompt", "x", "--model", "tiny"),
    "best-of-n": ("best-of-n", "{scores}", "--per", "prompt"),
    "filter": ("filter", "{scores}", "--ok-only"),
    "leaderboard": ("leaderboard", "{scores}", "--by", "model"),
    "report": ("report", "{scores}"),
}


@pytest.fixture(scope="module")
def scores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("scores") / "s.parquet"
    return write_scores(scored(["a.png", "b.png"], ["a cat"] * 2, model=["one", "two"]), file)


def write(cli: Cli, name: str, scores: Path, output: object) -> subprocess.CompletedProcess[str]:
    words = [str(word).format(scores=scores) for word in WRITERS[name]]
    return cli(*words, "-o", output)


def refused(done: subprocess.CompletedProcess[str], *reasons: str) -> None:
    [error, *_] = done.stderr.splitlines()
    assert error.startswith("error: ")
    assert any(reason in error for reason in reasons), done.stderr
    assert "Traceback" not in done.stderr
    assert (done.returncode, done.stdout) == (2, "")


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("spare", [-1, 7], ids=["name", "name of a file next to it"])
def test_a_long_name(cli: Cli, tmp_path: Path, scores: Path, name: str, spare: int) -> None:
    """The second name fits, but the names of its journal and of its unfinished file do not."""
    suffix = ".html" if name == "report" else ".parquet"
    output = tmp_path / ("a" * (LONGEST_NAME - spare - len(suffix)) + suffix)
    refused(write(cli, name, scores, output), "File name too long")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", WRITERS)
def test_no_regular_file(cli: Cli, tmp_path: Path, scores: Path, name: str) -> None:
    suffix = ".html" if name == "report" else ".jsonl"
    folder, pipe = tmp_path / f"folder{suffix}", tmp_path / f"pipe{suffix}"
    folder.mkdir()
    os.mkfifo(pipe)
    refused(write(cli, name, scores, folder), "is a folder")
    refused(write(cli, name, scores, pipe), "is a pipe or a device")
    refused(write(cli, name, scores, "/dev/stdout"), "unsupported output format", "ends in .html")
    refused(write(cli, name, scores, folder / "x" / f"y{suffix}"), "does not exist")


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="permissions of POSIX")
@pytest.mark.parametrize("mode", [0o555, 0o000], ids=["not writable", "not searchable"])
def test_a_folder_without_permission(tmp_path: Path, mode: int) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=mode)
    words = [*WRITERS["score"], "-o", closed / "x.jsonl"]
    command = [*_unprivileged(), sys.executable, "-m", "librehps_cli", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    refused(done, f"folder {closed} is not writable", "Permission denied")


def _unprivileged() -> list[str]:
    """The first words of a command that obeys permissions, as root does not."""
    if os.geteuid() != 0:
        return []
    if shutil.which("setpriv") is None:
        pytest.skip("root needs setpriv")
    return ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]


def test_a_folder_that_takes_no_files(cli: Cli, scores: Path) -> None:
    done = write(cli, "score", scores, "/proc/x.jsonl")
    assert "/proc/x.jsonl.journal cannot be written" in done.stderr
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)


@pytest.mark.parametrize(
    "words",
    [("score", "{}.png"), ("score", "{}.csv"), ("score", "{}.tar"), ("compare", "{}.png", "a.png"),
     ("best-of-n", "{}.parquet"), ("filter", "{}.jsonl", "--ok-only"), ("report", "{}.parquet"),
     ("info", "--model", "{}"), ("score", str(MATCH), "--calibration", "{}.json")],
    ids=" ".join,
)  # fmt: skip
def test_a_long_name_of_an_input(cli: Cli, words: tuple[str, ...]) -> None:
    options = () if words[0] in ("filter", "report", "info") else ("--prompt", "x", "-m", "tiny")
    done = cli(*(word.format("a" * LONGEST_NAME) for word in words), *options)
    assert done.stderr.startswith("error: ")
    assert (done.returncode in (1, 2), "Traceback" in done.stderr) == (True, False)
