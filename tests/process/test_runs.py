"""Runs with an output file: killed, interrupted, out of disk, taken up again."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import forks
from conftest import Cli
from killed import kill
from make_media import picture
from run_data import MODEL, assert_same, journal_rows, rows_of

SUPPORT = Path(__file__).parents[1] / "support"
INTERRUPTER = SUPPORT / "interrupter.py"


# In one run each time: windows of two rows, groups of eight.
MOMENTS = [
    ("freeze", 1), ("rows", 1), ("rows", 1), ("torn", 1), ("rows", 2), ("torn", 2), ("rows", 1),
    ("group", 1), ("rows", 1), ("torn", 3), ("rows", 2), ("torn", 1), ("rows", 1), ("torn", 2),
    ("rows", 1), ("output", 1), ("output", 2), ("output", 4), ("finished", 1), ("finished", 1),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".parquet", ".jsonl"])
def test_killed_twenty_times(
    run_folder: Path, whole_run: list[dict], tmp_path: Path, suffix: str, cli: Cli
) -> None:
    output = tmp_path / f"x{suffix}"
    arguments = ("score", run_folder, "--prompt", "x", *MODEL, "-o", output)
    moments = MOMENTS if suffix == ".parquet" else MOMENTS[::4]
    kill(moments, *arguments)
    last = cli(*arguments, "--resume")
    assert last.returncode == 3, last.stderr
    assert_same(rows_of(output), whole_run)
    assert not output.with_name(output.name + ".journal").exists()
    again = cli(*arguments, "--resume")
    assert again.returncode == 3
    assert_same(rows_of(output), whole_run)


def stopped(output: Path, *arguments: object) -> subprocess.Popen[str]:
    """A run in the background that has stopped (SIGSTOP) with one row journalled."""
    command = [*forks.python(), INTERRUPTER, "SIGSTOP", 1, *arguments, "-o", output]
    child = subprocess.Popen([*map(str, command)], stderr=subprocess.PIPE, text=True)
    _, status = os.waitpid(child.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    return child


@pytest.mark.slow
def test_interrupted_and_resumed(
    run_folder: Path, whole_run: list[dict], tmp_path: Path, cli: Cli
) -> None:
    output = tmp_path / "x.parquet"
    arguments = ("score", run_folder, "--prompt", "x", *MODEL[:-1], "--batch-size", "1")
    command = [*forks.python(), INTERRUPTER, "SIGINT", 1, *arguments, "-o", output]
    # With one thread of torch a window is two items, so that most rows are still to come.
    child = subprocess.run(
        [*map(str, command)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert child.returncode == 130, child.stderr
    assert "continue with --resume" in child.stderr
    assert "Traceback" not in child.stderr
    kept = journal_rows(output)
    assert 0 < kept < len(whole_run)
    assert not output.exists()
    refused = cli(*arguments, "-o", output)
    assert refused.returncode == 2
    assert "an unfinished run of" in refused.stderr
    other = cli("score", run_folder, "--prompt", "y", *MODEL, "-o", output, "--resume")
    assert other.returncode == 2
    assert "prompt 'x', now 'y'" in other.stderr
    frames = cli(*arguments, "--num-frames", 2, "-o", output, "--resume")
    assert frames.returncode == 2
    assert "num_frames 4, now 2" in frames.stderr
    done = cli(*arguments, "-o", output, "--resume")
    assert done.returncode == 3
    assert f"{kept} of {len(whole_run)} items were scored before" in done.stderr
    assert f"{len(whole_run) - 2} scored, 2 errors" in done.stderr
    assert_same(rows_of(output), whole_run)


def test_one_process_at_a_time(run_folder: Path, tmp_path: Path, cli: Cli) -> None:
    output = tmp_path / "x.parquet"
    child = stopped(output, "score", run_folder, "--prompt", "x", *MODEL, "--batch-size", "1")
    held = cli("score", run_folder, "--prompt", "x", *MODEL, "-o", output, "--resume")
    child.send_signal(signal.SIGCONT)
    child.communicate()
    assert child.returncode == 3
    assert held.returncode == 2
    assert "another process is writing" in held.stderr


def test_a_full_disk_keeps_what_was_written(
    run_folder: Path, whole_run: list[dict], tmp_path: Path, cli: Cli
) -> None:
    """The limit on the size of a file stands for the disk."""
    output = tmp_path / "x.jsonl"
    arguments = ["score", str(run_folder), "--prompt", "x", *MODEL, "-o", str(output)]
    limited = f'ulimit -f 8; exec "{sys.executable}" -m librehps_cli "$@"'
    full = subprocess.run(
        ["bash", "-c", limited, "x", *arguments], capture_output=True, text=True, check=False
    )
    assert full.returncode == 1, full.stderr
    assert "cannot be written" in full.stderr
    assert "Traceback" not in full.stderr
    assert not output.exists()
    done = cli(*arguments, "--resume")
    assert done.returncode == 3, done.stderr
    assert_same(rows_of(output), whole_run)


def test_overwriting_waits_for_no_run_that_lives(
    run_folder: Path, tmp_path: Path, cli: Cli
) -> None:
    output = tmp_path / "x.parquet"
    arguments = ("score", run_folder, "--prompt", "x", *MODEL, "--batch-size", "1")
    child = stopped(output, *arguments)
    other = cli(*arguments, "-o", output, "--overwrite")
    child.send_signal(signal.SIGCONT)
    child.communicate()
    assert other.returncode == 2
    assert "another process" in other.stderr
    assert child.returncode == 3


@pytest.mark.slow
def test_taking_over_rows_may_be_killed(tmp_path: Path, cli: Cli) -> None:
    media, output = tmp_path / "m", tmp_path / "x.parquet"
    media.mkdir()
    for index in range(6):
        picture(seed=index).save(media / f"{index}.png")
    (media / "5.png").write_bytes(b"")
    arguments = ("score", media, "--prompt", "x", *MODEL, "-o", output)
    assert cli(*arguments).returncode == 3
    before = rows_of(output)
    # A row that is ok must not be scored again.
    (media / "1.png").write_bytes(b"")
    picture(seed=5).save(media / "5.png")
    moments = [("freeze", 1), ("rows", 1), ("rewrite", 1), ("finished", 1)]
    kill(moments, *arguments, "--retry-errors")
    assert cli(*arguments, "--retry-errors").returncode == 0
    after = rows_of(output)
    assert after[:5] == before[:5]
    assert after[5]["status"] == "ok"


@pytest.mark.slow
def test_a_container_that_changed_is_not_resumed(tmp_path: Path, cli: Cli) -> None:
    rows = []
    for index in range(12):
        picture(seed=index).save(tmp_path / "p.png")
        rows.append({"image": {"bytes": (tmp_path / "p.png").read_bytes(), "path": f"{index}.png"},
                     "prompt": "x", "other": {"bytes": b"y", "path": "y"}})  # fmt: skip
    source, output = tmp_path / "m.parquet", tmp_path / "x.jsonl"
    pq.write_table(pa.Table.from_pylist(rows), source)
    command = ("score", source, *MODEL[:-1], "-o", output)
    kill([("rows", 1)], *command)
    pq.write_table(pa.Table.from_pylist(rows[::-1]), source)
    done = cli(*command, "--resume")
    assert done.returncode == 2
    assert "m.parquet has changed since" in done.stderr
    anew = cli(*command, "--overwrite")
    assert anew.returncode == 0, anew.stderr
    assert "skipped columns with binary values: other" in anew.stderr
    assert [row["id"] for row in rows_of(output)] == [f"{index}.png" for index in range(11, -1, -1)]


@pytest.mark.slow
def test_journals_that_are_damaged(
    run_folder: Path, whole_run: list[dict], tmp_path: Path, cli: Cli
) -> None:
    output = tmp_path / "x.jsonl"
    arguments = ("score", run_folder, "--prompt", "x", *MODEL, "-o", output)
    kill([("rows", 9)], *arguments)
    journal = tmp_path / "x.jsonl.journal"
    groups = (journal / "rows.groups").read_bytes()
    damaged = groups[:200] + b"x" + groups[201:]
    (journal / "rows.groups").write_bytes(damaged + b"\0" * 50)
    with (journal / "rows.newest").open("ab") as file:
        file.write(b"\0" * 50 + b"\n")
    run = (journal / "run.json").read_text()
    (journal / "run.json").write_text("")
    torn = cli(*arguments, "--resume")
    assert torn.returncode == 2
    assert "(damaged; expected layout" in torn.stderr
    (journal / "run.json").write_text(run)
    done = cli(*(a for a in arguments if a != "--quiet"), "--resume")
    assert done.returncode == 3, done.stderr
    assert "damaged bytes; their rows are scored again" in done.stderr
    assert f"10 of {len(whole_run)} items were scored before" in done.stderr
    assert_same(rows_of(output), whole_run)
