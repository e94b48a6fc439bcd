"""Updates that are killed: the old output stays whole, and no score is lost or made twice."""

import json
from pathlib import Path

import pytest

import in_process
from killed import kill
from librehps.scores.markers import journal_folder
from make_media import picture
from run_data import MODEL, assert_same, rows_of


def write(at: int) -> None:
    Path("pics").mkdir(exist_ok=True)
    picture(32, 32, seed=at).save(f"pics/{at}.png")


def test_kills_do_not_damage_the_old_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for at in range(4):
        write(at)
    arguments = ("score", "pics", "--prompt", "a cat", *MODEL, "--update", "-o", "x.parquet")
    in_process.run(arguments)
    before = rows_of(Path("x.parquet"))
    Path("pics/0.png").rename("pics/z.png")
    Path("pics/1.png").unlink()
    for at in range(4, 12):
        write(at)
    kill([("freeze", 1), ("rows", 1), ("torn", 1), ("rows", 2), ("output", 1)], *arguments)
    assert rows_of(Path("x.parquet")) == before
    done = in_process.run((*arguments, "--json"))
    summary = json.loads(done.stdout)
    # Rows of three windows of two are in the journal of the killed runs.
    counts = {"new": 8, "changed": 0, "moved": 1, "kept": 2, "retried": 0, "vanished": 1}
    assert summary["changes"] == {**counts, "pruned": 0}
    assert in_process.run((*arguments[:-3], "-o", "fresh.parquet")).returncode == 0
    rows = [row for row in rows_of(Path("x.parquet")) if not row["vanished"]]
    expected = rows_of(Path("fresh.parquet"))
    assert_same([{name: row[name] for name in expected[0]} for row in rows], expected)
    kill([("finished", 1)], *arguments)
    done = in_process.run((*arguments[:-3], "--resume", "-o", "x.parquet"))
    assert done.returncode == 2
    assert "the unfinished run is an update" in done.stderr
    assert in_process.run(arguments).returncode == 0
    assert not journal_folder(Path("x.parquet")).exists()
