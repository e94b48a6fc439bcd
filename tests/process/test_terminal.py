"""What `librehps score` shows on a real terminal."""

import os
import pty
import subprocess
from pathlib import Path

import pytest

import forks
from conftest import CHECKPOINT
from librehps import Item, LibreHPS
from make_media import picture, two_pictures_and_a_clip

MODEL = ("--model", CHECKPOINT)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two pictures and a clip."""
    return two_pictures_and_a_clip(tmp_path / "out")


def test_names_cannot_steer_the_terminal(tmp_path: Path) -> None:
    """On a real pseudo-terminal: markup is shown as it is, control characters spelled out."""
    for name in ("[red]x[_red].png", "a\x1b[31mb\n.png"):
        picture().save(tmp_path / name)
    (tmp_path / "[").mkdir()
    (tmp_path / "[" / "red].png").write_bytes(b"")
    shown = on_terminal("score", str(tmp_path), "--prompt", "x", "--model", str(CHECKPOINT))
    assert "[red]x[_red].png" in shown
    assert "a\\x1b[31mb\\n.png" in shown
    assert "a\x1b[31mb" not in shown
    assert "[/red].png" in shown


def test_a_terminal_gets_a_ranking(folder: Path, golden: LibreHPS) -> None:
    shown = on_terminal("score", str(folder), "--prompt", "x", "--model", str(CHECKPOINT))
    assert "overall" in shown
    assert "temporal" in shown
    assert "{" not in shown
    places = {n: shown.index(n) for n in ("a.png", "c.mp4", "sub/b.jpg")}
    rows = golden.score_items(Item(n, folder / n, "x") for n in places)
    mu = {row.item.id: row.score.overall.raw_mean for row in rows}
    assert sorted(places, key=lambda n: places[n]) == sorted(mu, key=lambda n: -mu[n])


def on_terminal(*arguments: str) -> str:
    """What `librehps ARGS` shows on a terminal of 120 columns."""
    parent, child = pty.openpty()
    environment = {**os.environ, "COLUMNS": "120", "TERM": "xterm"}
    process = subprocess.Popen(
        [*forks.librehps(), *arguments],
        stdin=child, stdout=child, stderr=child, env=environment,
    )  # fmt: skip
    os.close(child)
    shown = b""
    while True:
        try:
            part = os.read(parent, 65536)
        except OSError:
            # Linux's word for the end of a terminal.
            break
        if not part:
            break
        shown += part
    process.wait()
    os.close(parent)
    return shown.decode()
