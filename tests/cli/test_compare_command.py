"""librehps compare of several, and of the rows of a file of pairs."""

import json
from itertools import permutations
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from conftest import EXAMPLES, Cli
from librehps import LibreHPS

TINY = ("--model", "tiny")
MEDIA = EXAMPLES / "media"
PROMPT = "a red circle left of a blue square"
NAMES = ("torn.png", "match.png", "wrong_shape.png", "blurred.png")


def lines(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


def test_several(cli: Cli, tiny: LibreHPS) -> None:
    done = cli("compare", *(MEDIA / name for name in NAMES), "--prompt", PROMPT, *TINY, "--json")
    records = lines(done.stdout)
    assert [Path(r["item"]).name for r in records] == [
        "match.png", "wrong_shape.png", "blurred.png", "torn.png",
    ]  # fmt: skip
    assert [r["rank"] for r in records] == [1, 2, 3, 4]
    fit = tiny.calibrator()
    mus = [r["overall_mu"] for r in records]
    for at, record in enumerate(records):
        if at < 3:
            sure = fit.probability(mus[at] - mus[at + 1])
            assert record["win_probability"] == pytest.approx(sure, abs=1e-5)
        others = [fit.probability(mus[at] - mu) for i, mu in enumerate(mus) if i != at]
        assert record["win_probability_field"] == pytest.approx(sum(others) / 3, abs=1e-5)
    assert records[3]["win_probability"] is None
    plain = lines(cli("compare", *(MEDIA / n for n in NAMES), "--prompt", PROMPT, *TINY, "--json",
                      "--plain").stdout)  # fmt: skip
    chances = [fit.probability(mus[0] - mu, symmetric=False) for mu in mus[1:]]
    assert plain[0]["win_probability_field"] == pytest.approx(sum(chances) / 3, abs=1e-5)
    # Of all pairs together, half are won.
    field = [record["win_probability_field"] for record in records]
    assert sum(field) / 4 == pytest.approx(0.5)


def test_both_orders_add_up_to_one(cli: Cli, tmp_path: Path) -> None:
    rows = [{"prompt": PROMPT, "media_a": a, "media_b": b} for a, b in permutations(NAMES, 2)]
    file = tmp_path / "pairs.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = cli("compare", file, "--root", MEDIA, *TINY, "--json")
    wins = {(r["media_a"], r["media_b"]): r["p_a_wins"] for r in lines(done.stdout)}
    assert len(wins) == 12
    for (a, b), p in wins.items():
        assert p + wins[b, a] == pytest.approx(1, abs=1e-9)
    plain = lines(cli("compare", file, "--root", MEDIA, *TINY, "--json", "--plain").stdout)
    wins = {(r["media_a"], r["media_b"]): r["p_a_wins"] for r in plain}
    assert any(abs(p + wins[b, a] - 1) > 1e-4 for (a, b), p in wins.items())


def test_explain(cli: Cli) -> None:
    pair = (MEDIA / "match.png", MEDIA / "torn.png", "--prompt", PROMPT, *TINY)
    record = json.loads(cli("compare", *pair, "--json", "--explain").stdout)
    for axis, gap in record["gaps"].items():
        mus = (record[f"scores_{side}"][f"{axis}_mu"] for side in "ab")
        assert gap == pytest.approx(next(mus) - next(mus), abs=1e-6)
    assert max(record["gaps"], key=lambda axis: record["gaps"][axis]) == "coherence"
    table = cli("compare", *pair, "--table", "--explain", COLUMNS="80")
    assert "favours" in table.stdout
    assert "overall decides" in table.stderr
    assert max(map(len, table.stdout.splitlines())) <= 80


def test_one_that_cannot_be_scored_does_not_stop_the_others(cli: Cli, tmp_path: Path) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"")
    asked = (MEDIA / "match.png", bad, MEDIA / "torn.png", "--prompt", PROMPT, *TINY)
    done = cli("compare", *asked, "--json")
    assert done.returncode == 3
    assert len(lines(done.stdout)) == 2
    assert "bad.png is empty" in done.stderr


def pairs_file(folder: Path) -> Path:
    file = folder / "pairs.csv"
    file.write_text(
        "prompt,media_a,media_b,who\n"
        f"{PROMPT},match.png,torn.png,ann\n"
        f"{PROMPT},match.png,match.png,bob\n"
        f"{PROMPT},gone.png,match.png,cid\n"
        f"{PROMPT},match.png,steady.mp4,dee\n"
        "a green star above a yellow cross,jumping.mp4,steady.mp4,eve\n"
    )
    return file


def test_a_verdict_on_each_pair(cli: Cli, tmp_path: Path) -> None:
    done = cli("compare", pairs_file(tmp_path), "--root", MEDIA, *TINY, "--json", "--explain")
    assert done.returncode == 3
    first, same, gone, mixed, clips = lines(done.stdout)
    assert (first["winner"], first["who"], first["confident"]) == ("a", "ann", True)
    assert first["coherence_gap"] > 5
    assert (same["winner"], same["p_a_wins"]) == ("tie", 0.5)
    assert (gone["status"], gone["error_type"], gone["winner"]) == (
        "error", "MediaNotFoundError", None,
    )  # fmt: skip
    assert gone["overall_b"] == first["overall_a"]
    assert "expected one kind, got a: image, b: video" in mixed["error"]
    assert (clips["winner"], clips["temporal_gap"] < 0) == ("b", True)
    assert "2 errors" in done.stderr


def test_verdicts_in_a_file(cli: Cli, tmp_path: Path) -> None:
    asked = ("compare", pairs_file(tmp_path), "--root", MEDIA, *TINY, "-o", tmp_path / "v.parquet")
    assert cli(*asked).returncode == 3
    table = pq.read_table(tmp_path / "v.parquet")
    assert table.column("winner").to_pylist() == ["a", "tie", None, None, "b"]
    assert b"librehps.settings" in table.schema.metadata
    again = cli(*asked)
    assert again.returncode == 2
    assert "exists" in again.stderr


@pytest.mark.parametrize(
    ("content", "code", "words"),
    [
        ("prompt,media_a\nx,a.png\n", 1, "lacks the column media_b"),
        ("prompt,media_a,media_b\n", 1, "holds no rows"),
        ("prompt,media_a,media_b,winner\nx,match.png,torn.png,me\n", 2, "winner"),
    ],
)
def test_files_of_pairs_that_cannot_be_used(
    cli: Cli, tmp_path: Path, content: str, code: int, words: str
) -> None:
    file = tmp_path / "pairs.csv"
    file.write_text(content)
    done = cli("compare", file, "--root", MEDIA, *TINY)
    assert done.returncode == code
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_usage(cli: Cli, tmp_path: Path) -> None:
    alone = cli("compare", MEDIA / "match.png", "--prompt", "x", *TINY)
    assert alone.returncode == 2
    assert "expected two or more images or videos" in alone.stderr
    prompted = cli("compare", pairs_file(tmp_path), "--prompt", "x", *TINY)
    assert prompted.returncode == 2
    assert "unsupported with a file of pairs" in prompted.stderr
