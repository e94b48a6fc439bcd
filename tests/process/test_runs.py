"""Runs with an output file: killed, interrupted, out of disk, taken up again."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from conftest import Cli
from make_media import clip, picture

KILLER = Path(__file__).parents[1] / "support" / "killer.py"
MODEL = ("--model", "tiny", "--batch-size", "3", "--quiet")
NUMBERS = ("overall", "overall_mu", "style_mu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """29 pictures, a clip, and two files that are none."""
    media = tmp_path_factory.mktemp("media")
    for index in range(29):
        picture(64 + 16 * (index % 5), 96, seed=index).save(media / f"{index:02}.png")
    clip(media / "clip.mp4")
    (media / "empty.png").write_bytes(b"")
    (media / "text.jpg").write_text("no picture")
    return media


@pytest.fixture(scope="module")
def whole(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    """Rows of a run that nothing disturbed."""
    output = tmp_path_factory.mktemp("whole") / "x.parquet"
    command = [sys.executable, "-m", "librehps_cli", "score", folder, "--prompt", "x", *MODEL]
    subprocess.run([*command, "-o", output], check=False)
    return rows_of(output)


def rows_of(output: Path) -> list[dict]:
    if output.suffix == ".parquet":
        return pq.read_table(output).to_pylist()
    return [json.loads(line) for line in output.read_text().splitlines()]


def assert_same(rows: list[dict], expected: list[dict]) -> None:
    """Order and every column, numbers within what a batch may change."""
    assert [row["id"] for row in rows] == [row["id"] for row in expected]
    for row, other in zip(rows, expected, strict=True):
        for name in NUMBERS:
            assert (row[name] is None) == (other[name] is None)
            assert row[name] == pytest.approx(other[name], abs=2e-3)
        fixed = [name for name in row if not name.endswith("_mu") and name not in (
            "overall", "alignment", "coherence", "style", "temporal")]  # fmt: skip
        assert [row[name] for name in fixed] == [other[name] for name in fixed]


def journal_lines(output: Path) -> int:
    file = output.with_name(output.name + ".journal") / "rows.jsonl"
    return file.read_bytes().count(b"\n") if file.exists() else 0


# Of one run each time: rows of the run so far where it dies.
MOMENTS = [
    ("freeze", 1), ("row", 1), ("row", 1), ("torn", 1), ("row", 2), ("torn", 2), ("row", 3),
    ("row", 1), ("torn", 3), ("row", 4), ("row", 2), ("row", 1), ("torn", 1), ("row", 3),
    ("torn", 2), ("output", 1), ("output", 17), ("output", 32), ("finished", 1), ("finished", 1),
]  # fmt: skip


def kill(moments: list[tuple[str, int]], *arguments: object) -> None:
    command = [sys.executable, KILLER, json.dumps(moments), *map(str, arguments)]
    assert subprocess.run(command, check=False).returncode == 0, "a run was not killed"


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".parquet", ".jsonl"])
def test_killed_twenty_times(
    folder: Path, whole: list[dict], tmp_path: Path, suffix: str, cli: Cli
) -> None:
    output = tmp_path / f"x{suffix}"
    arguments = ("score", folder, "--prompt", "x", *MODEL, "-o", output)
    moments = MOMENTS if suffix == ".parquet" else MOMENTS[::4]
    kill(moments, *arguments)
    last = cli(*arguments, "--resume")
    assert last.returncode == 3, last.stderr
    assert_same(rows_of(output), whole)
    assert not output.with_name(output.name + ".journal").exists()
    again = cli(*arguments, "--resume")
    assert again.returncode == 3
    assert_same(rows_of(output), whole)


def started(output: Path, *arguments: object) -> subprocess.Popen[str]:
    """A run in the background, once its first rows are journalled."""
    command = [sys.executable, "-m", "librehps_cli", *map(str, arguments), "-o", str(output)]
    child = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and child.poll() is None and not journal_lines(output):
        time.sleep(0.005)
    return child


@pytest.mark.slow
def test_interrupted_and_resumed(folder: Path, whole: list[dict], tmp_path: Path, cli: Cli) -> None:
    output = tmp_path / "x.parquet"
    arguments = ("score", folder, "--prompt", "x", *MODEL[:-1], "--batch-size", "1")
    child = started(output, *arguments)
    child.send_signal(signal.SIGINT)
    _, said = child.communicate(timeout=60)
    assert child.returncode == 130
    assert "--resume goes on" in said
    assert "Traceback" not in said
    kept = journal_lines(output)
    assert 0 < kept < len(whole)
    assert not output.exists()
    refused = cli(*arguments, "-o", output)
    assert refused.returncode == 2
    assert "has not finished" in refused.stderr
    other = cli("score", folder, "--prompt", "y", *MODEL, "-o", output, "--resume")
    assert other.returncode == 2
    assert "prompt 'x', now 'y'" in other.stderr
    frames = cli(*arguments, "--num-frames", 2, "-o", output, "--resume")
    assert frames.returncode == 2
    assert "num_frames 4, now 2" in frames.stderr
    done = cli(*arguments, "-o", output, "--resume")
    assert done.returncode == 3
    assert f"{kept} of {len(whole)} were done before" in done.stderr
    assert f"{len(whole) - 2} scored, 2 errors" in done.stderr
    assert_same(rows_of(output), whole)


def test_one_process_at_a_time(folder: Path, tmp_path: Path, cli: Cli) -> None:
    output = tmp_path / "x.parquet"
    child = started(output, "score", folder, "--prompt", "x", *MODEL, "--batch-size", "1")
    child.send_signal(signal.SIGSTOP)
    held = cli("score", folder, "--prompt", "x", *MODEL, "-o", output, "--resume")
    child.send_signal(signal.SIGCONT)
    child.communicate(timeout=120)
    assert child.returncode == 3
    assert held.returncode == 2
    assert "another process is writing" in held.stderr


def test_a_full_disk_keeps_what_was_written(
    folder: Path, whole: list[dict], tmp_path: Path, cli: Cli
) -> None:
    """The limit on the size of a file stands for the disk."""
    output = tmp_path / "x.jsonl"
    arguments = ["score", str(folder), "--prompt", "x", *MODEL, "-o", str(output)]
    limited = f'ulimit -f 16; exec "{sys.executable}" -m librehps_cli "$@"'
    full = subprocess.run(
        ["bash", "-c", limited, "x", *arguments], capture_output=True, text=True, check=False
    )
    assert full.returncode == 1, full.stderr
    assert "cannot be written" in full.stderr
    assert "Traceback" not in full.stderr
    assert not output.exists()
    done = cli(*arguments, "--resume")
    assert done.returncode == 3, done.stderr
    assert_same(rows_of(output), whole)


@pytest.mark.slow
def test_errors_are_done_again(tmp_path: Path, cli: Cli) -> None:
    media, output = tmp_path / "m", tmp_path / "x.parquet"
    media.mkdir()
    for index in range(5):
        picture(seed=index).save(media / f"{index}.png")
    good = (media / "3.png").read_bytes()
    (media / "3.png").write_bytes(good[:100])
    arguments = ("score", media, "--prompt", "x", *MODEL, "-o", output)
    assert cli(*arguments).returncode == 3
    before = rows_of(output)
    assert [row["status"] for row in before] == ["ok"] * 3 + ["error", "ok"]
    (media / "3.png").write_bytes(good)
    # What was scored is not looked at again.
    (media / "0.png").write_bytes(b"")
    assert cli(*arguments, "--retry-errors").returncode == 0
    after = rows_of(output)
    assert [row["status"] for row in after] == ["ok"] * 5
    assert [r for r in after if r["id"] != "3.png"] == [r for r in before if r["id"] != "3.png"]
    (media / "new.png").write_bytes(good)
    other = cli(*arguments, "--retry-errors")
    assert other.returncode == 2
    assert "Traceback" not in other.stderr
    assert rows_of(output) == after


def test_resuming_nothing_begins(folder: Path, whole: list[dict], tmp_path: Path, cli: Cli) -> None:
    output = tmp_path / "x.jsonl"
    done = cli("score", folder, "--prompt", "x", *MODEL, "-o", output, "--resume")
    assert done.returncode == 3
    assert_same(rows_of(output), whole)
    wrong = cli("score", folder, "--prompt", "x", *MODEL, "-o", output, "--resume", "--overwrite")
    assert wrong.returncode == 2
    nowhere = cli("score", folder, "--prompt", "x", *MODEL, "--resume")
    assert nowhere.returncode == 2
    assert "-o" in nowhere.stderr


def test_columns_and_own_columns(tmp_path: Path, cli: Cli) -> None:
    picture().save(tmp_path / "a.png")
    row = {
        "image": "a.png",
        "prompt": "x",
        "seed": 7,
        "cfg": 7.123456789,
        "tags": ["a"],
        "ok": True,
    }
    (tmp_path / "m.jsonl").write_text(json.dumps(row) + "\n")
    output = tmp_path / "x.parquet"
    command = ("score", tmp_path / "m.jsonl", *MODEL)
    assert cli(*command, "--columns", "full", "-o", output).returncode == 0
    [found] = rows_of(output)
    assert list(found)[-4:] == ["seed", "cfg", "tags", "ok"]
    assert (found["seed"], found["cfg"], found["tags"], found["ok"]) == (
        7,
        7.123456789,
        '["a"]',
        True,
    )
    assert found["overall_sigma"] > 0
    assert len(found["sha256"]) == 64
    lines = cli(*command, "--columns", "id,overall_mu,seed,cfg")
    assert list(json.loads(lines.stdout)) == ["id", "overall_mu", "seed", "cfg"]
    assert json.loads(lines.stdout)["cfg"] == 7.123456789
    wrong = cli(*command, "--columns", "id,overal")
    assert wrong.returncode == 2
    assert "no column overal" in wrong.stderr


def test_shards_make_a_whole(folder: Path, whole: list[dict], tmp_path: Path, cli: Cli) -> None:
    rows = []
    for which in (1, 2):
        output = tmp_path / f"{which}.parquet"
        done = cli("score", folder, "--prompt", "x", *MODEL, "--shard", f"{which}/2", "-o", output)
        assert done.returncode in (0, 3), done.stderr
        rows += rows_of(output)
    assert_same(sorted(rows, key=lambda row: row["id"]), sorted(whole, key=lambda row: row["id"]))


PIPES = {
    "null": (
        "find . -name '*.png' -size +0 -print0 | sort -z | librehps score --null - --prompt x "
        "--model tiny -q | jq -r 'select(.status == \"ok\") | .id' | head -3",
        ["00.png", "01.png", "02.png"],
    ),
    "jsonl": (
        'echo \'{"image": "00.png", "prompt": "x", "n": 1}\' | librehps score - --model tiny -q '
        "| jq .n",
        ["1"],
    ),
    "filter": (
        "librehps score . --prompt x --model tiny -q -o $T/x.jsonl; "
        "librehps filter $T/x.jsonl --top 2 --null | xargs -0 -n1 basename | wc -l",
        ["2"],
    ),
}


@pytest.mark.skipif(shutil.which("jq") is None, reason="the pipelines of the README use jq")
@pytest.mark.parametrize("name", PIPES)
def test_pipelines(folder: Path, tmp_path: Path, name: str) -> None:
    script, expected = PIPES[name]
    alias = f'librehps() {{ "{sys.executable}" -m librehps_cli "$@"; }}\n'
    done = subprocess.run(
        ["bash", "-c", alias + script],
        capture_output=True, text=True, cwd=folder, env={**os.environ, "T": str(tmp_path)},
        check=False,
    )  # fmt: skip
    assert done.stdout.split() == expected, done.stderr
    assert "Traceback" not in done.stderr
    assert "Broken pipe" not in done.stderr


@pytest.mark.slow
def test_an_output_is_resumed_as_what_it_was(folder: Path, tmp_path: Path, cli: Cli) -> None:
    output = tmp_path / "x.jsonl"
    picture().save(tmp_path / "a.png")
    arguments = ("score", tmp_path / "a.png", *MODEL, "-o", output)
    assert cli(*arguments, "--prompt", "x").returncode == 0
    before = output.read_bytes()
    for other, words in [
        (("--prompt", "y"), "prompt 'x', now 'y'"),
        (("--prompt", "x", "--num-frames", 2), "num_frames 4, now 2"),
    ]:
        for way in ("--resume", "--retry-errors"):
            done = cli(*arguments, *other, way)
            assert done.returncode == 2
            assert words in done.stderr
    done = cli(*arguments, "--prompt", "x", "--retry-errors", "--columns", "full")
    assert done.returncode == 2
    assert "lacks the columns" in done.stderr
    assert cli(*arguments, "--prompt", "x", "--resume").returncode == 0
    assert output.read_bytes() == before
    itself = cli("score", output, *MODEL, "-o", output, "--overwrite")
    assert itself.returncode == 2
    assert "is what is to be scored" in itself.stderr
    assert output.read_bytes() == before


def test_overwriting_waits_for_no_run_that_lives(folder: Path, tmp_path: Path, cli: Cli) -> None:
    output = tmp_path / "x.parquet"
    arguments = ("score", folder, "--prompt", "x", *MODEL, "--batch-size", "1")
    child = started(output, *arguments)
    child.send_signal(signal.SIGSTOP)
    other = cli(*arguments, "-o", output, "--overwrite")
    child.send_signal(signal.SIGCONT)
    child.communicate(timeout=120)
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
    kill([("row", 4)], *arguments, "--retry-errors")
    # What was scored must not be looked at again.
    (media / "1.png").write_bytes(b"")
    picture(seed=5).save(media / "5.png")
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
    kill([("row", 3)], *command)
    pq.write_table(pa.Table.from_pylist(rows[::-1]), source)
    done = cli(*command, "--resume")
    assert done.returncode == 2
    assert "m.parquet changed since" in done.stderr
    anew = cli(*command, "--overwrite")
    assert anew.returncode == 0, anew.stderr
    assert "left out: other" in anew.stderr
    assert [row["id"] for row in rows_of(output)] == [f"{index}.png" for index in range(11, -1, -1)]


@pytest.mark.slow
def test_journals_that_are_torn(folder: Path, tmp_path: Path, cli: Cli) -> None:
    output = tmp_path / "x.jsonl"
    arguments = ("score", folder, "--prompt", "x", *MODEL, "-o", output)
    kill([("row", 9)], *arguments)
    journal = tmp_path / "x.jsonl.journal"
    with (journal / "rows.jsonl").open("ab") as file:
        file.write(b"\0" * 50 + b"\n")
    (journal / "index.sqlite").write_bytes(b"no database at all" * 100)
    run = (journal / "run.json").read_text()
    (journal / "run.json").write_text("")
    torn = cli(*arguments, "--resume")
    assert torn.returncode == 2
    assert "torn, or of another version" in torn.stderr
    (journal / "run.json").write_text(run)
    done = cli(*arguments, "--resume")
    assert done.returncode == 3, done.stderr
    assert len(rows_of(output)) == 32


@pytest.mark.slow
def test_odd_values_of_own_columns_reach_every_output(tmp_path: Path, cli: Cli) -> None:
    picture().save(tmp_path / "a.png")
    values = [{"n": 2**60 + 1, "t": "a\ud83d", "m": 2}, {"n": 1.5, "t": "b", "m": "a"},
              {"n": 2**80, "t": None, "m": None}]  # fmt: skip
    names = ["a.png", "x\0.mp4", "\ud83d.mp4"]
    rows = [{"id": str(at), "image": n, "prompt": "x", **v}
            for at, (n, v) in enumerate(zip(names, values, strict=True))]  # fmt: skip
    (tmp_path / "m.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for name in ("x.parquet", "x.jsonl"):
        done = cli("score", tmp_path / "m.jsonl", *MODEL, "-o", tmp_path / name)
        assert done.returncode == 3, done.stderr
        found = rows_of(tmp_path / name)
        assert [row["status"] for row in found] == ["ok", "error", "error"]
        assert [row["n"] for row in found] == [str(2**60 + 1), "1.5", str(2**80)]
        assert [row["m"] for row in found] == ["2", "a", None]
        assert cli("filter", tmp_path / name, "--ok-only").returncode == 0
