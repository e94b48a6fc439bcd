"""Plain progress lines of a long run, where stderr is a log."""

import re
import threading
from pathlib import Path

import pytest

from conftest import Cli
from librehps.engine import window_size
from librehps.engine.engine import LocalEngine
from librehps_cli.ui import progress_log
from make_media import picture

LINE = re.compile(
    r"scoring: (\d+)/6 items, \d+\.\d items/s, ETA (\d+:\d\d:\d\d|unknown), (\d) errors?"
)
MODEL = ("--model", "tiny")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five pictures and an empty file."""
    media = tmp_path / "media"
    media.mkdir()
    for seed in range(5):
        picture(64, 64, seed=seed).save(media / f"{seed}.png")
    (media / "torn.png").write_bytes(b"")
    return media


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make each look at the clock 20 s later than the one before; other threads stand still."""
    now = [0.0]

    def look() -> float:
        now[0] += 20.0 * (threading.current_thread() is threading.main_thread())
        return now[0]

    monkeypatch.setattr(progress_log, "monotonic", look)


def test_a_log_gets_a_line_every_30_seconds(
    cli: Cli, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The rows of a window come together, after one look.
    monkeypatch.setattr(LocalEngine, "window_size", lambda self, lanes: 1)
    monkeypatch.setattr(window_size, "QUICK_S", 0.0)
    done = cli("score", folder, "--prompt", "x", *MODEL, "-o", tmp_path / "x.parquet")
    found = [LINE.fullmatch(line) for line in done.stderr.splitlines() if "items/s" in line]
    # A line at every second look: 20 s are too few, 40 s are enough.
    assert [match and match[1] for match in found] == ["2", "4", "6"]
    assert found[-1] is not None
    assert found[-1][3] == "1"


def test_a_pipe_has_no_total(cli: Cli, folder: Path) -> None:
    done = cli("score", folder, "--prompt", "x", *MODEL)
    assert re.search(r"^scoring: 2 items, \d+\.\d items/s, 0 errors$", done.stderr, re.MULTILINE)
    assert len(done.stdout.splitlines()) == 6


def test_decisions_on_media_say_it_too(cli: Cli, folder: Path) -> None:
    done = cli("best-of-n", folder, "--prompt", "x", *MODEL)
    assert re.search(r"^scoring: \d/6 items, \d\.\d items/s, ETA ", done.stderr, re.MULTILINE)


@pytest.mark.parametrize("command", ["score", "best-of-n"])
def test_quiet_silences_it(cli: Cli, folder: Path, command: str) -> None:
    done = cli(command, folder, "--prompt", "x", *MODEL, "--quiet")
    assert "items/s" not in done.stderr
