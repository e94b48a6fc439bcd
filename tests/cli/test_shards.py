"""Shards as processes: one schema, empty ones, and folders that lack some."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from conftest import Cli
from librehps.scores.shards import in_shard
from make_media import picture

MODEL = ("--model", "tiny")
NOTE = "this shard contains no items"


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Six rows of one picture, whose own column is whole in all of them but the last."""
    picture().save(tmp_path / "a.png")
    values = [0, 1, 2, 3, 4, 0.5]
    rows = [{"id": f"i{at}", "image": "a.png", "prompt": "x", "score_x": value}
            for at, value in enumerate(values)]  # fmt: skip
    file = tmp_path / "m.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def empty_shard(count: int) -> str:
    """The first of so many that none of the six ids falls into."""
    ids = [f"i{at}" for at in range(6)]
    empty = (w for w in range(1, count + 1) if not any(in_shard(i, w, count) for i in ids))
    return f"{next(empty)}/{count}"


def assert_refused(cli: Cli, scores: Path, words: str) -> None:
    more = {"filter": ["--ok-only"], "leaderboard": ["--by", "score_x"],
            "report": ["-o", scores.with_name("r.html")], "best-of-n": []}  # fmt: skip
    for command, arguments in more.items():
        done = cli(command, scores, *arguments)
        assert done.returncode == 2, command
        assert words in done.stderr, command


@pytest.mark.slow
def test_shards_of_one_schema_are_read_once_all_are_there(
    manifest: Path, tmp_path: Path, cli: Cli
) -> None:
    scores = tmp_path / "scores"
    scores.mkdir()
    empty = empty_shard(4)
    for which in range(1, 5):
        if which == 3:
            assert_refused(cli, scores, "missing shards 3/4, 4/4")
        shard, output = f"{which}/4", scores / f"{which}.parquet"
        done = cli("score", manifest, *MODEL, "--shard", shard, "-o", output, "--resume")
        assert done.returncode == 0, done.stderr
        assert (NOTE in done.stderr) == (shard == empty)
    (scores / "4.parquet.journal").mkdir()
    assert_refused(cli, scores, "4.parquet.journal")
    (scores / "4.parquet.journal").rmdir()
    files = sorted(scores.iterdir())
    one, *others = (pq.read_schema(file) for file in files)
    assert all(other.equals(one) for other in others)
    assert str(one.field("score_x").type) == "double"
    best = cli("filter", scores, "--ok-only", "--json")
    assert sorted(json.loads(line)["id"] for line in best.stdout.splitlines()) == [
        f"i{at}" for at in range(6)]  # fmt: skip


@pytest.mark.parametrize("name", ["x.parquet", "x.jsonl"])
def test_an_empty_shard_is_a_success(manifest: Path, tmp_path: Path, name: str, cli: Cli) -> None:
    output = tmp_path / name
    arguments = ("score", manifest, *MODEL, "--shard", empty_shard(8), "-o", output)
    done = cli(*arguments, "--columns", "full")
    assert done.returncode == 0, done.stderr
    assert NOTE in done.stderr
    assert sorted(f.name for f in tmp_path.iterdir() if f.name.startswith("x.")) == [
        name, *(["x.jsonl.settings.json"] if name == "x.jsonl" else [])]  # fmt: skip
    if name == "x.parquet":
        table = pq.read_table(output)
        assert len(table) == 0
        assert str(table.schema.field("score_x").type) == "double"
        assert json.loads(table.schema.metadata[b"librehps.request"])["shard"] == empty_shard(8)
    else:
        assert output.read_bytes() == b""
    again = cli(*arguments, "--columns", "full", "--resume")
    assert again.returncode == 0
    assert "is complete: 0 scored, 0 errors" in again.stderr
    retried = cli(*arguments, "--columns", "full", "--retry-errors")
    assert retried.returncode == 0, retried.stderr
    other = cli("score", manifest, *MODEL, "--shard", "1/9", "-o", output, "--resume")
    assert other.returncode == 2
    assert f"shard '{empty_shard(8)}', now '1/9'" in other.stderr
    chosen = cli("filter", output, "--ok-only")
    assert (chosen.returncode, chosen.stdout) == (0, "")


def test_an_empty_shard_on_stdout(manifest: Path, cli: Cli) -> None:
    for way in ("--json", "--table"):
        done = cli("score", manifest, *MODEL, "--shard", empty_shard(8), way)
        assert (done.returncode, done.stdout) == (0, ""), done.stderr
        assert NOTE in done.stderr
