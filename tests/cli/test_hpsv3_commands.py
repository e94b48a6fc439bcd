"""The commands with a model of one axis that scores images only."""

import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from conftest import Cli
from make_media import clip, picture

GOLDEN = Path(__file__).parents[1] / "golden_hpsv3"
MODEL = ("--model", GOLDEN / "checkpoint", "--device", "cpu")
PROMPT = "a cat sitting on a windowsill"
NAMES = ("sq448.png", "wide.png", "small.png")


def lines(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture(scope="module")
def mu() -> dict[str, float]:
    cases = json.loads((GOLDEN / "expected.json").read_text())["images"]
    return {case["image"]: case["mu"] for case in cases if case["prompt"] == PROMPT}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder for each of two generators, with the same names in both."""
    for generator, names in (("one", NAMES), ("two", NAMES[1:] + NAMES[:1])):
        (tmp_path / "media" / generator).mkdir(parents=True)
        for at, name in enumerate(names):
            shutil.copy(GOLDEN / "media" / name, tmp_path / "media" / generator / f"{at}.png")
    return tmp_path / "media"


def test_score_and_what_follows(
    cli: Cli, folder: Path, tmp_path: Path, mu: dict[str, float]
) -> None:
    clip(folder / "one" / "clip.mp4")
    frames = [picture(seed=seed) for seed in range(2)]
    frames[0].save(folder / "one" / "moving.webp", save_all=True, append_images=frames[1:])
    scored = tmp_path / "x.parquet"
    done = cli("score", folder, "--prompt", PROMPT, *MODEL, "--columns", "full", "-o", scored)
    assert done.returncode == 3, done.stderr
    rows = {row["id"]: row for row in pq.read_table(scored).to_pylist()}
    assert len(rows) == 8
    for at, name in enumerate(NAMES):
        row = rows[f"one/{at}.png"]
        assert row["overall_mu"] == pytest.approx(mu[name], abs=5e-3)
        assert 0 < row["overall_sigma"] < 1
    assert not {"alignment", "alignment_mu", "temporal"} & set(row)
    error = rows["one/clip.mp4"]
    assert (error["status"], error["error_type"]) == ("error", "UnsupportedMediaError")
    assert "the model scores images only" in error["error"]
    moving = rows["one/moving.webp"]
    assert (moving["status"], moving["kind"]) == ("error", "video")
    assert "got an animated image. Use --animated still for its first frame" in moving["error"]

    best = cli("best-of-n", scored, "--json")
    [row] = lines(best.stdout)
    assert mu[NAMES[int(Path(row["id"]).stem)]] == max(mu[name] for name in NAMES)
    board = cli("leaderboard", scored, "--by", "folder", "--json")
    assert board.returncode in (0, 3), board.stderr
    assert {record["axis"] for record in lines(board.stdout)} == {"overall"}
    page = tmp_path / "x.html"
    report = cli("report", scored, "-o", page)
    assert report.returncode in (0, 3), report.stderr
    assert "alignment_mu" not in page.read_text()


def test_compare_uses_the_sigmas(cli: Cli, mu: dict[str, float]) -> None:
    files = [GOLDEN / "media" / name for name in NAMES]
    done = cli("compare", *files, "--prompt", PROMPT, *MODEL, "--json")
    assert done.returncode == 0, done.stderr
    records = lines(done.stdout)
    order = sorted(NAMES, key=lambda name: -mu[name])
    assert [Path(record["item"]).name for record in records] == order
    assert all(record["calibrated"] is False for record in records)
    assert records[0]["win_probability"] > 0.5


def test_info(cli: Cli) -> None:
    done = cli("info", *MODEL, "--json")
    record = json.loads(done.stdout)
    assert record["axes"]["value"] == ["overall"]
    assert record["calibrator"]["value"] == "none"


def test_scores_of_another_family_are_not_compared(cli: Cli, folder: Path, tmp_path: Path) -> None:
    scored = tmp_path / "x.parquet"
    first = cli("score", folder / "one", "--prompt", PROMPT, *MODEL, "-o", scored)
    assert first.returncode == 0, first.stderr
    other = tmp_path / "y.parquet"
    second = cli("score", folder / "two", "--prompt", PROMPT, "--model", "tiny", "-o", other)
    assert second.returncode == 0, second.stderr
    refused = cli("best-of-n", scored, other)
    assert refused.returncode == 2
    assert "settings" in refused.stderr
