"""--weights, --normalise and --with, and the rule for scores of different prompts."""

import json
import re
from pathlib import Path

import pytest

from conftest import EXAMPLES, Cli
from librehps.scores.score_table import read_scores
from make_media import picture
from two_models import by_hand, put, scored

WEIGHTS = ("--weights", "overall=1,second.overall=0.5,look.beauty=2")
COLUMNS = {"overall_mu": 1, "second.overall_mu": 0.5, "look.beauty": 2}


@pytest.fixture(autouse=True)
def _scores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The scores of two models, and numbers for each id by somebody else."""
    monkeypatch.chdir(tmp_path)
    put(tmp_path, "one.parquet", scored(0))
    put(tmp_path, "two.parquet", scored(1, 10, "two/second"))
    lines = [f"{name},{i % 7}\n" for i, name in enumerate(scored(0)["id"].to_pylist())]
    Path("look.csv").write_text("".join(["id,beauty\n", *lines]))


def test_columns_of_two_models_and_a_table_are_weighed(cli: Cli) -> None:
    joined = ("--with", "two.parquet", "--with", "look.csv", *WEIGHTS)
    top = ("--top", "1", "--per", "prompt", "-o", "top.parquet")
    done = cli("filter", "one.parquet", *joined, *top)
    assert done.returncode == 0
    *told, passed = done.stderr.splitlines()
    assert passed.startswith("16 of 60 rows pass")
    assert told == [
        "2 rows have an error in two.parquet",
        "two.parquet: joined to 58 rows by media and prompt, as columns second.*",
        "look.csv: joined to 60 rows by id, as columns look.*",
        "2 rows without a score on overall, second.overall, look.beauty are ignored",
    ]
    kept = list(read_scores("top.parquet").rows())
    cli("filter", "one.parquet", *joined, "--ok-only", "-o", "all.parquet")
    rows = list(read_scores("all.parquet").rows())
    scores = by_hand(rows, COLUMNS, "prompt")
    best = {}
    for row, score in zip(rows, scores, strict=True):
        if score is not None and score > best.get(row["prompt"], (float("-inf"), ""))[0]:
            best[row["prompt"]] = (score, row["id"])
    assert {r["id"]: r["weighted_score"] for r in kept} == pytest.approx(
        {name: score for score, name in best.values()}
    )
    picked = cli("best-of-n", "one.parquet", *joined, "--json", "-q")
    assert [json.loads(line)["id"] for line in picked.stdout.splitlines()] == [
        name for _, name in best.values()
    ]
    assert "joined" not in picked.stderr
    board = cli("leaderboard", "one.parquet", *joined, "--by", "gen", "--table", "-q",
                "--resamples", "100")  # fmt: skip
    title = "weighted_score (overall=1,second.overall=0.5,look.beauty=2), 14 prompts"
    assert board.stdout.startswith(title)
    plain = cli(
        "leaderboard", "one.parquet", *joined, "--by", "gen", "--json", "--resamples", "100"
    )
    record = json.loads(plain.stdout)
    assert (record["weights"]["look.beauty"], record["normalise"]) == (2, "prompt")


def test_a_table_shows_the_values_of_the_columns(cli: Cli) -> None:
    shown = cli("best-of-n", "one.parquet", "--with", "look.csv", "--weights",
                "overall=1,look.beauty=1", "--table", COLUMNS="160").stdout  # fmt: skip
    assert re.search(r"prompt 14 +x/58.png .* 0\.699 +2\.000 +- +3\n", shown)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--weights", "overall=1", "--by", "overall", "--top", "1"), "--by and --weights cannot"),
        (("--weights", "overall=1"), "no condition given"),
        (("--normalise", "all", "--top", "1"), "--normalise needs --weights"),
        (("--with", "x=absent.csv", "--top", "1"), "no such file: absent.csv"),
        (("--with", "b=half.parquet", "--top", "1"),
         "hint: Leave these rows out with --drop-unmatched"),
        (("--with", "two.parquet", "--with-key", "sha256", "--top", "1"),
         "one.parquet has no column sha256"),
    ],
)  # fmt: skip
def test_invalid_options(cli: Cli, arguments: tuple[str, ...], problem: str) -> None:
    put(Path(), "half.parquet", scored(1).slice(30))
    done = cli("filter", "one.parquet", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert problem in done.stderr


def test_rows_that_another_file_lacks_are_left_out_on_request(cli: Cli) -> None:
    put(Path(), "half.parquet", scored(1).slice(30))
    done = cli("filter", "one.parquet", "--with", "b=half.parquet", "--drop-unmatched",
               "--ok-only", "--json")  # fmt: skip
    own = scored(0)["status"].to_pylist()
    assert len(done.stdout.splitlines()) == own[30:].count("ok")
    assert f"{own[:30].count('ok')} rows of one.parquet left out" in done.stderr


def test_ranking_across_prompts_is_told(cli: Cli) -> None:
    for command in (
        ("filter", "--top", "3", "-o", "-"),
        ("filter", "--top", "3", "--by", "overall_mu", "-o", "-"),
        ("best-of-n", "--per", "all"),
    ):
        done = cli(command[0], "one.parquet", *command[1:])
        assert done.stderr.count("scores of different prompts are compared (16 prompts); add "
                                 "--per prompt\n") == 1  # fmt: skip
        assert "different prompts" not in cli(command[0], "one.parquet", *command[1:], "-q").stderr
    folders = cli("best-of-n", "one.parquet", "--per", "folder")
    assert "are compared (16 prompts in 2 of 2 groups); add --per prompt" in folders.stderr
    for quiet in (
        ("filter", "--top", "3", "--per", "prompt"),
        ("filter", "--top", "3", "--by", "aesthetic"),
        ("filter", "--top", "3", "--weights", "overall=1", "--normalise", "prompt"),
        ("filter", "--min", "overall=0.1"),
        ("best-of-n", "--per", "prompt"),
        ("best-of-n", "--per", "all", "--weights", "overall=1,aesthetic=1"),
    ):
        assert "different prompts" not in cli(quiet[0], "one.parquet", *quiet[1:]).stderr


def test_own_columns_of_a_manifest_are_weighed_as_media_are_scored(cli: Cli) -> None:
    for name in "ab":
        picture(seed=ord(name)).save(f"{name}.png")
    Path("m.csv").write_text("file,prompt,beauty\na.png,a cat,1\nb.png,a cat,2\n")
    asked = ("best-of-n", "m.csv", "--model", "tiny", "--json")
    done = cli(*asked, "--weights", "overall=0.001,beauty=1")
    assert (done.returncode, json.loads(done.stdout)["id"]) == (0, "b.png")
    typo = cli(*asked, "--weights", "overall=1,beuty=1")
    assert (typo.returncode, "no axis beuty" in typo.stderr) == (2, True)


def test_the_table_of_scores_ranks_within_each_prompt(cli: Cli) -> None:
    names = ("match.png", "torn.png", "wrong_shape.png")
    prompts = {"match.png": "a red circle left of a blue square", "torn.png": "a star"}
    rows = [f"{EXAMPLES / 'media' / name},{prompts.get(name, 'a star')}" for name in names]
    Path("m.csv").write_text("\n".join(["file,prompt", rows[1], rows[0], rows[2]]))
    done = cli("score", "m.csv", "--model", "tiny", "--table", COLUMNS="160")
    shown = [line.split() for line in done.stdout.splitlines()]
    assert shown[1][:3] == ["prompt", "item", "overall"]
    assert [line[0] for line in shown[2:]] == ["1", "2", "1"]
    assert [line[1] for line in shown[2:]].count("a") == 2
    assert "match.png" in done.stdout.splitlines()[4]
    assert "different prompts" not in done.stderr
