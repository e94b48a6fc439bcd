"""`librehps score --watch` as a process, beside another one that writes into the folder."""

import json
import os
import pty
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow.parquet as pq

import forks
from conftest import Cli
from make_media import picture

SUPPORT = Path(__file__).parents[1] / "support"
# A batch of one, so that equal rows are equal bit for bit.
OPTIONS = ("--model", "tiny", "--batch-size", "1", "--prompt-from", "sidecar")
COUNTS = ("total", "ok", "failed")


class Writer:
    """A slow generator, see slow_writer.py, and the summaries of a watch of its folder."""

    def __init__(self, writer: subprocess.Popen[str], watch: subprocess.Popen[str]) -> None:
        self._writer, self.watch = writer, watch

    def do(self, *steps: str) -> None:
        assert self._writer.stdin is not None and self._writer.stdout is not None
        for step in steps:
            self._writer.stdin.write(f"{step}\n")
            self._writer.stdin.flush()
            assert self._writer.stdout.readline() == f"{step}\n"

    def until(self, total: int, failed: int = 0, **changes: int) -> dict:
        """Read summaries up to one with these counts."""
        assert self.watch.stdout is not None
        for line in self.watch.stdout:
            found = json.loads(line)
            is_it = (found["total"], found["failed"]) == (total, failed)
            if is_it and changes.items() <= found["changes"].items():
                return found
        raise AssertionError("the watch has ended")


@contextmanager
def running(folder: Path, *options: object) -> Iterator[Writer]:
    command = [*forks.librehps(), "score", folder, *OPTIONS, *options, "--watch", "--json"]
    with (
        subprocess.Popen(
            [*forks.python(), SUPPORT / "slow_writer.py", folder],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        ) as writer,
        subprocess.Popen(
            [*map(str, command)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as watch,
    ):  # fmt: skip
        try:
            yield Writer(writer, watch)
        finally:
            watch.kill()
            writer.kill()


def test_a_slow_writer_beside_a_watch(tmp_path: Path, cli: Cli) -> None:
    (folder := tmp_path / "in").mkdir()
    output = tmp_path / "x.parquet"
    with running(folder, "--prune", "-o", output) as writer:
        writer.until(total=0)
        writer.do("say a.txt red", "write a.png 1", "say b.txt blue", "put b.png 2")
        writer.do("end a.png")
        writer.until(total=2)
        writer.do("write b.png 3", "say sub/c.txt green", "put sub/c.png 4", "end b.png")
        writer.until(total=3)
        writer.do("say a.txt other", "write d.png 5", "move sub away", "say d.txt x", "drop b.png")
        writer.do("say e.png text", "say e.txt x", "end d.png")
        writer.until(total=4, failed=1)
        writer.watch.send_signal(signal.SIGTERM)
        _, talk = writer.watch.communicate()
    assert writer.watch.returncode == 3, talk
    assert "Traceback" not in talk
    assert "stopping" in talk
    assert "3 scored, 1 error" in talk
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        ".x.parquet.stamps", "in", "x.parquet"
    ]  # fmt: skip
    fresh = cli("score", folder, *OPTIONS, "-o", tmp_path / "fresh.parquet")
    assert fresh.returncode == 3
    expected = pq.read_table(tmp_path / "fresh.parquet").to_pylist()
    assert pq.read_table(output, columns=list(expected[0])).to_pylist() == expected
    updated = cli("score", folder, *OPTIONS, "--update", "--prune", "-o", output)
    assert "0 new, 0 changed, 3 kept" in updated.stderr


def test_a_terminal_shows_what_changed(tmp_path: Path) -> None:
    (folder := tmp_path / "in").mkdir()
    picture().save(folder / "a.png")
    (folder / "a.txt").write_text("red")
    parent, child = pty.openpty()
    command = [*forks.librehps(), "score", str(folder), *OPTIONS, "--watch"]
    command += ["-o", str(tmp_path / "x.jsonl")]
    watch = subprocess.Popen(command, stdin=child, stdout=child, stderr=child)
    os.close(child)
    shown = b""
    while not re.search(rb"overall.*a\.png.* 0\.\d{3}", shown, re.S):
        shown += os.read(parent, 1 << 16)
    (folder / "a.png").unlink()
    while b"1 vanished" not in shown:
        shown += os.read(parent, 1 << 16)
    watch.send_signal(signal.SIGINT)
    watch.wait()
    assert watch.returncode == 0
    assert b"1 new, 0 changed, 0 kept" in shown


def test_what_watch_does_not_go_with(tmp_path: Path, cli: Cli) -> None:
    output = tmp_path / "x.parquet"
    for options, problem in (
        (("-o", "-"), "need an output file"),
        (("-o", output, "--overwrite"), "--watch and --overwrite cannot be used together"),
        (("-o", output, "--update"), "--watch and --update cannot be used together"),
        (("-o", output, "--engine", "ray"), "--watch: unsupported with Ray"),
    ):
        refused = cli("score", tmp_path, *OPTIONS, "--watch", *options)
        assert refused.returncode == 2
        assert problem in refused.stderr
        assert re.search("^hint: ", refused.stderr, re.M)
