"""The output of `librehps score` on a real terminal."""

import os
import pty
import re
import subprocess
from pathlib import Path

import pytest

import forks
from conftest import CHECKPOINT, runner
from librehps import Item, LibreHPS
from make_media import picture, two_pictures_and_a_clip

MODEL = ("--model", CHECKPOINT)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two pictures and a clip."""
    return two_pictures_and_a_clip(tmp_path / "out")


def test_names_cannot_steer_the_terminal(tmp_path: Path) -> None:
    """File names on a pseudo-terminal keep their markup, and control characters are escaped."""
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


def test_a_terminal_keeps_the_best_rows_on_screen(tmp_path: Path) -> None:
    """The best 20 of many items are the last rows; --table in a file has all items."""
    for seed in range(23):
        picture(64, 64, seed=seed).save(tmp_path / f"item{seed}.png")
        (tmp_path / f"torn{seed}.png").write_bytes(b"")
    command = ("score", str(tmp_path), "--prompt", "x", "--model", str(CHECKPOINT))
    shown = on_terminal(*command).replace("\r", "")
    places = [int(line.split()[0]) for line in shown.splitlines() if " item" in line[:10]]
    assert places == list(range(1, 21))
    assert shown.count("(EmptyFileError)") == 20
    assert "3 more items failed; for every error: -o scores.parquet, or --json" in shown
    assert shown.index("torn") < shown.index("overall")
    more = "best 20 of 23, 3 more; for every row: -o scores.parquet, or --json"
    assert re.search(rf"\n20 +item.*\n{more}", shown)
    whole = runner(*forks.librehps())(*command, "--table")
    assert len({word for word in whole.stdout.split() if word.startswith("item")}) == 24
    assert "more" not in whole.stdout
    assert whole.stderr.count("(EmptyFileError)") == 23


def on_terminal(*arguments: str) -> str:
    """Return the output of `librehps ARGS` on a terminal of 120 columns."""
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
