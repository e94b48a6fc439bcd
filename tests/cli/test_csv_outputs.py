"""Tables as CSV and TSV: filter, best-of-n, compare and evaluate."""

import csv
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import librehps
from conftest import EXAMPLES, Cli

ODD = ['say "hi", twice\nhere', "=cmd()|x", "a\ttab", "", "ünïcode 猫", "plain"]


@pytest.fixture
def scores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples").symlink_to(EXAMPLES)
    columns = {
        "id": [f"{i}.png" for i in range(6)],
        "media": [f"in/{i}.png" for i in range(6)],
        "prompt": ODD,
        "overall": pa.array([0.1, 0.2, 1 / 3, 3e-8, None, np.nan], pa.float32()),
        "overall_mu": pa.array([1, 2, 3, -4, 5, 6.5], pa.float32()),
        "frames": pa.array([[0, 4], None, [], [1], [2], [3]], pa.list_(pa.int32())),
        "status": ["ok"] * 6,
        "seed": [1 << 53, None, 3, 4, 5, 6],
        "exact": [0.1 + 0.2, 1e300, None, -0.0, np.inf, 2.5],
        "kept": [True, False, None, True, True, True],
        "by": pa.array(["a", "b", "a", "b", "a", "b"]).dictionary_encode(),
        "raw": [b"\0\xff", b"", None, b"a", b"a", b"a"],
        "extra": [{"x": [1.5, None]}, None, {"x": []}, {"x": None}, {"x": [1]}, {"x": [2]}],
    }
    pq.write_table(pa.table(columns), "s.parquet")
    return Path("s.parquet")


def read(file: str) -> list[dict[str, str]]:
    delimiter = "\t" if file.endswith(".tsv") else ","
    with Path(file).open(encoding="utf-8", newline="") as text:
        return list(csv.DictReader(text, delimiter=delimiter, strict=True))


@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
def test_values(cli: Cli, scores: Path, suffix: str) -> None:
    done = cli("filter", scores, "--ok-only", "-o", f"x{suffix}")
    assert done.returncode == 0, done.stderr
    rows, table = read(f"x{suffix}"), pq.read_table(scores)
    assert [*rows[0]] == table.column_names
    # Data are not altered, also where a spreadsheet would take them for a formula.
    assert [row["prompt"] for row in rows] == ODD
    means = [np.float32(row["overall"]) if row["overall"] else None for row in rows]
    assert means == [*table.column("overall").to_pylist()[:4], None, None]
    assert rows[0]["overall"] == "0.1"
    assert [row["exact"] for row in rows] == ["0.30000000000000004", "1e+300", "", "-0", "", "2.5"]
    assert [row["seed"] for row in rows][:2] == ["9007199254740992", ""]
    assert [row["frames"] for row in rows][:3] == ["[0, 4]", "", "[]"]
    assert json.loads(rows[0]["extra"]) == {"x": [1.5, None]}
    assert [row["raw"] for row in rows][:3] == ["AP8=", "", ""]
    assert [row["kept"] for row in rows][:3] == ["true", "false", ""]
    assert [row["by"] for row in rows][:2] == ["a", "b"]


def test_best_of_n(cli: Cli, scores: Path) -> None:
    assert cli("best-of-n", scores, "--per", "by", "-o", "best.csv").returncode == 0
    best = read("best.csv")
    assert [(row["group"], row["id"], row["rank"]) for row in best] == [
        ("a", "4.png", "1"), ("b", "5.png", "1"),
    ]  # fmt: skip
    assert best[0]["ties"] == "[]"
    assert not Path("best.csv.settings.json").exists()


def test_comparisons(cli: Cli, scores: Path) -> None:
    media = sorted(Path("examples/media").glob("*.png"))[:3]
    asked = ("-m", "tiny", "--prompt", "a red circle")
    assert cli("compare", *media, *asked, "-o", "three.csv").returncode == 0
    assert [row["rank"] for row in read("three.csv")] == ["1", "2", "3"]
    assert cli("compare", *media[:2], *asked, "-o", "two.csv").returncode == 0
    [row] = read("two.csv")
    assert row["winner"] in "ab" and "overall" in json.loads(row["scores_a"])
    pairs = [{"prompt": "a red circle", "media_a": str(media[0]), "media_b": str(m)} for m in media]
    Path("pairs.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    done = cli("compare", "pairs.jsonl", "-m", "tiny", "-o", "verdicts.csv")
    assert done.returncode == 0, done.stderr
    assert [bool(row["winner"]) for row in read("verdicts.csv")] == [True] * 3
    again = cli("compare", "pairs.jsonl", "-m", "tiny", "-o", "verdicts.csv")
    assert (again.returncode, "already exists" in again.stderr) == (2, True)


def test_an_evaluation(cli: Cli, scores: Path) -> None:
    media = sorted(Path("examples/media").glob("*.png"))[:3]
    pairs = [
        {"prompt": "a red circle", "media_a": str(media[0]), "media_b": str(other),
         "overall": winner, "source": source}
        for other in media[1:] for source, winner in (("x", "a"), ("y", "b"))
    ]  # fmt: skip
    Path("pairs.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    asked = ("pairs.jsonl", "-m", "tiny", "--split", "all", "--by", "source")
    done = cli("evaluate", *asked, "-o", "e.csv")
    assert done.returncode == 0, done.stderr
    rows = read("e.csv")
    assert {row["table"] for row in rows} >= {"benchmark", "aggregate", "axis", "by source"}
    assert [row["value"] for row in rows if row["table"] == "by source"][:2] == ["x", "y"]
    assert rows[0]["n"] == "4"


def test_what_csv_is_not_for(cli: Cli, scores: Path) -> None:
    refused = cli("score", "examples/media", "-m", "tiny", "--prompt", "x", "-o", "x.csv")
    assert (refused.returncode, "librehps filter scores.parquet" in refused.stderr) == (2, True)
    assert cli("filter", scores, "--ok-only", "-o", "x.csv").returncode == 0
    back = cli("filter", "x.csv", "--ok-only")
    assert back.returncode == 2
    assert "CSV is for spreadsheets" in back.stderr
    assert "CSV is for spreadsheets" in cli("best-of-n", "x.csv", "-m", "tiny").stderr
    librehps.read_scores(scores).write("y.csv")
    assert Path("y.csv").read_bytes() == Path("x.csv").read_bytes()
