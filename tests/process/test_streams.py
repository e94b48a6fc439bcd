"""Standard streams that fail: lost data is an error, lost messages are not, and nothing traces."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import forks
from conftest import EXAMPLES
from report_data import picture, scored, write_scores

MATCH, TORN = EXAMPLES / "media" / "match.png", EXAMPLES / "media" / "torn.png"
ONE = ("--prompt", "x", "--model", "tiny")
# Commands that print data; {scores} is a scored file.
DATA = {
    "score": ("score", MATCH, *ONE),
    "score to stdout": ("score", MATCH, *ONE, "-o", "-"),
    "score as a table": ("score", MATCH, *ONE, "--table"),
    "compare": ("compare", MATCH, TORN, *ONE),
    "compare as a table": ("compare", MATCH, TORN, *ONE, "--table"),
    "best-of-n": ("best-of-n", "{scores}", "--per", "prompt"),
    "best-of-n as a table": ("best-of-n", "{scores}", "--per", "prompt", "--table"),
    "filter": ("filter", "{scores}", "--ok-only"),
    "filter as JSON": ("filter", "{scores}", "--ok-only", "--json"),
    "leaderboard": ("leaderboard", "{scores}", "--by", "model"),
    "info": ("info", "--model", "tiny"),
    "info as a table": ("info", "--model", "tiny", "--table"),
    "help": ("--help",),
    "help of a command": ("score", "--help"),
    "no arguments": (),
    "version": ("--version",),
}
FULL = Path("/dev/full")
pytestmark = pytest.mark.skipif(not FULL.exists(), reason="/dev/full is of Linux")


@pytest.fixture(scope="module")
def scores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scores")
    media = [picture(folder, f"{name}/{at}.png", at) for name in ("one", "two") for at in range(3)]
    file = folder / "s.parquet"
    prompts = ["a cat", "a dog", "a cow"] * 2
    return write_scores(scored(media, prompts, model=["one"] * 3 + ["two"] * 3), file)


def command(name: str, scores: Path) -> list[str]:
    return [str(word).format(scores=scores) for word in DATA[name]]


@pytest.mark.parametrize("name", DATA)
def test_a_full_stdout_is_an_error(name: str, scores: Path) -> None:
    with FULL.open("wb") as full:
        done = subprocess.run(
            [*forks.librehps(), *command(name, scores)],
            stdout=full, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert "error: stdout cannot be written: No space left on device" in done.stderr.splitlines()
    assert "Traceback" not in done.stderr and "Exception" not in done.stderr
    assert done.returncode == 1


@pytest.mark.parametrize("name", ["best-of-n", "filter", "info", "version", "score to stdout"])
def test_a_full_stderr_loses_messages_alone(name: str, scores: Path) -> None:
    with FULL.open("wb") as full:
        done = subprocess.run(
            [*forks.librehps(), *command(name, scores)],
            stdout=subprocess.PIPE, stderr=full, check=False,
        )  # fmt: skip
    assert (done.returncode, bool(done.stdout)) == (0, True)


def shell(redirection: str, *words: object) -> subprocess.CompletedProcess[str]:
    """Closed streams need an interpreter of their own: the fork server passes open ones alone."""
    script = f'"$@" {redirection}'
    return subprocess.run(
        ["sh", "-c", script, "sh", sys.executable, "-m", "librehps_cli", *map(str, words)],
        capture_output=True, text=True, check=False, env={**os.environ, "COLUMNS": "120"},
    )  # fmt: skip


@pytest.mark.parametrize("words", [("filter", "{scores}", "--ok-only"), ("--version",), ("-h",)])
def test_a_closed_stdout_is_an_error(words: tuple[str, ...], scores: Path) -> None:
    done = shell(">&-", *(word.format(scores=scores) for word in words))
    assert done.stderr.splitlines()[-1:] == [
        "error: stdout cannot be written: the stream is closed"
    ]
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)


def test_other_closed_streams(scores: Path, tmp_path: Path) -> None:
    """An output file is whole without any stream; stdout is data without stderr and stdin."""
    output = tmp_path / "best.jsonl"
    assert shell("<&- >&- 2>&-", "filter", scores, "--ok-only", "-o", output).returncode == 0
    assert output.read_text().count("\n") == 6
    paths = shell("<&- 2>&-", "filter", scores, "--ok-only")
    assert (paths.returncode, paths.stdout.count("\n")) == (0, 6)
    assert shell("2>&-", "filter", tmp_path / "gone.parquet", "--ok-only").returncode == 2
