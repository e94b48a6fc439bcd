"""Weighted sums of any columns, compared with a computation by hand."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import librehps
from librehps.decide import combined
from librehps.decide.weights import parse_weights
from librehps.errors import NothingScoredError, UsageError
from librehps.scores import read, scored_file
from librehps.scores.file_table import FileTable
from two_models import ROWS, by_hand, put, scored

WEIGHTS = {"overall": 1, "second.overall": 0.5, "aesthetic": -0.25}
COLUMNS = {"overall_mu": 1, "second.overall_mu": 0.5, "aesthetic": -0.25}
Joined = Callable[[], librehps.ScoreTable]


@pytest.fixture(params=["in memory", "on demand"])
def joined(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> librehps.ScoreTable:
    """The scores of two models, whole or read a column at a time."""
    order = pa.array(np.random.default_rng(2).permutation(ROWS))
    one = put(tmp_path, "one.parquet", scored(0))
    two = put(tmp_path, "two.parquet", scored(1, 10, "two/second").take(order))
    if request.param == "on demand":
        monkeypatch.setattr(read, "MAX_BYTES_IN_MEMORY", 0)
        monkeypatch.setattr(scored_file, "BATCH_ROWS", 16)
        monkeypatch.setattr(combined, "BLOCK_ROWS", 7)
    table = librehps.join_scores(one, [str(two)])
    assert isinstance(table.source, FileTable) == (request.param == "on demand")
    return table


@pytest.mark.parametrize("normalise", [None, "prompt", "all"])
def test_scores_of_two_models_agree_with_a_computation_by_hand(
    joined: librehps.ScoreTable, normalise: Any
) -> None:
    rows = list(joined.rows())
    expected = by_hand(rows, COLUMNS, None if normalise == "all" else "prompt")
    found = librehps.filter_rows(joined, weights=WEIGHTS, normalise=normalise, ok_only=True)
    known = [(row["id"], score) for row, score in zip(rows, expected, strict=True)]
    scores = {r["id"]: r["weighted_score"] for r in found.rows() if r["weighted_score"] is not None}
    assert scores == pytest.approx({name: score for name, score in known if score is not None})
    picked = librehps.best_of_n(joined, weights=WEIGHTS, normalise=normalise)
    best: dict[str, tuple[float, str]] = {}
    for row, score in zip(rows, expected, strict=True):
        if score is not None and score > best.get(row["prompt"], (-np.inf, ""))[0]:
            best[row["prompt"]] = score, row["id"]
    assert {r["group"]: r["id"] for r in picked.records} == {
        p: name for p, (_, name) in best.items()
    }
    assert {r["group"]: r["score"] for r in picked.records} == pytest.approx(
        {prompt: score for prompt, (score, _) in best.items()}
    )
    top = librehps.filter_rows(joined, weights=WEIGHTS, normalise=normalise, top=1, per="prompt")
    assert {row["id"] for row in top.rows()} == {name for _, name in best.values()}


def test_a_leaderboard_over_a_weighted_sum(joined: librehps.ScoreTable) -> None:
    rows = list(joined.rows())
    scores = by_hand(rows, COLUMNS, "prompt")
    board = librehps.leaderboard(joined, "gen", weights=WEIGHTS)
    [only] = board.boards
    assert (only.axis, board.records()[0]["normalise"]) == ("weighted_score", "prompt")
    shares, means = [], {"x": [], "y": []}
    for prompt in {row["prompt"] for row in rows}:
        mine = {
            gen: [s for r, s in zip(rows, scores, strict=True)
                  if s is not None and (r["prompt"], r["gen"]) == (prompt, gen)]
            for gen in "xy"
        }  # fmt: skip
        if all(mine.values()):
            wins = [(a > b) + (a == b) / 2 for a in mine["x"] for b in mine["y"]]
            shares.append(sum(wins) / len(wins))
            for gen, values in mine.items():
                means[gen].append(sum(values) / len(values))
    at = [standing.generator for standing in only.standings].index("x")
    assert only.prompts == len(shares)
    assert only.wins[at][1 - at] == pytest.approx(sum(shares) / len(shares))
    assert only.standings[at].mean.value == pytest.approx(np.mean(means["x"]))


def test_axes_alone_are_added_unchanged(joined: librehps.ScoreTable) -> None:
    mu = joined.source.column("overall_mu").to_numpy()
    picked = librehps.best_of_n(joined, weights="overall=0.5", per="all", top=3)
    assert picked.weights.normalise == "none"
    best = np.sort(mu[~np.isnan(mu)].astype(np.float64))[::-1][:3]
    assert [record["score"] for record in picked.records] == (0.5 * best).tolist()
    sums = librehps.best_of_n(joined, weights="overall=1,second.overall=1", normalise="none")
    assert sums.records[0]["score"] == pytest.approx(
        sums.records[0]["overall_mu"] + sums.table.table["second.overall_mu"][0].as_py()
    )


def test_groups_without_a_spread_count_as_nothing() -> None:
    """0.1 three times has a mean that is not 0.1, but no deviation."""
    table = pa.table({
        "prompt": ["a"] * 3 + ["b"] + ["c"] * 2,
        "status": ["ok"] * 6,
        "flat": [0.1, 0.1, 0.1, 7.0, 1.0, 3.0],
        "noise": [0.3, 0.1 + 0.2, 0.3, 7.0, 1.0, 3.0],
        "huge": [1e308, -1e308, 0.0, 7.0, 1.0, 3.0],
    })  # fmt: skip
    for name, expected in (("noise", [0, 0, 0, 0, -1, 1]), ("huge", [np.nan] * 3 + [0, -1, 1])):
        np.testing.assert_equal(combined.combined(table, {name: 1.0}, "prompt"), expected)
    too_large = combined.combined(table, {"huge": 10.0}, "none")
    np.testing.assert_equal(too_large, [np.nan, np.nan, 0, 70, 10, 30])
    found = combined.combined(table, {"flat": 2.0}, "prompt")
    assert found.tolist() == [0, 0, 0, 0, -2, 2]
    ranked = librehps.filter_rows(
        table.append_column("id", pa.array(list("uvwxyz"))).append_column(
            "media", pa.nulls(6, pa.string())
        ),
        weights="flat=1", top=1, per="prompt",
    )  # fmt: skip
    assert [row["id"] for row in ranked.rows()] == ["u", "x", "z"]


def test_missing_values_are_counted_and_never_zero(
    joined: librehps.ScoreTable, caplog: pytest.LogCaptureFixture
) -> None:
    rows = list(joined.rows())
    bare = sum(r["status"] == "ok" and r["aesthetic"] is None for r in rows)
    assert bare > 0
    caplog.set_level(logging.WARNING)
    found = librehps.filter_rows(joined, weights="aesthetic=1", top="100%", per="prompt")
    assert f"{bare} rows without a score on aesthetic are ignored" in caplog.text
    assert len(found) == sum(r["status"] == "ok" and r["aesthetic"] is not None for r in rows)
    table = joined.table.append_column("nothing", pa.nulls(ROWS, pa.float64()))
    for decide in (
        lambda **w: librehps.best_of_n(table, **w),
        lambda **w: librehps.filter_rows(table, top=1, **w),
        lambda **w: librehps.leaderboard(table, "gen", **w),
    ):
        with pytest.raises(NothingScoredError, match="no row has a score on overall, nothing"):
            decide(weights="overall=1,nothing=1")
        with pytest.raises(UsageError, match="no column beauty; expected one of: overall"):
            decide(weights="overall=1,beauty=1")
        with pytest.raises(UsageError, match=r"gen holds text, not numbers \('x'"):
            decide(weights={"gen": 1})
        for bad in ({}, {"overall": 0}, {"overall": np.nan}):
            with pytest.raises(UsageError, match="weights: expected numbers other than 0, got"):
                decide(weights=bad)
        with pytest.raises(UsageError, match="needs --weights"):
            decide(normalise="all")
        with pytest.raises(UsageError, match="normalise: expected prompt, all or none, got 'some'"):
            decide(weights="overall=1", normalise="some")


def test_a_row_without_a_prompt_has_no_score_within_its_prompt() -> None:
    table = scored(0)
    bare = table.set_column(3, "prompt", pa.array([None, *table["prompt"].to_pylist()[1:]]))
    with pytest.raises(UsageError, match="1 row with a score but no prompt"):
        librehps.filter_rows(bare, weights="aesthetic=1", top=1)
    assert len(librehps.filter_rows(bare, weights="aesthetic=1", normalise="all", top=1)) == 1


def test_the_column_of_an_earlier_call_is_replaced(joined: librehps.ScoreTable) -> None:
    once = librehps.filter_rows(joined, weights="overall=1", ok_only=True)
    twice = librehps.filter_rows(once, weights="overall=2", min={"weighted_score": 0.0})
    assert twice.columns.count("weighted_score") == 1
    assert all(r["weighted_score"] == 2 * r["overall_mu"] >= 0 for r in twice.rows())


def test_names_of_columns_may_have_an_equals_sign() -> None:
    assert dict(parse_weights("a=b=2, c.overall=1").weights) == {"a=b": 2, "c.overall": 1}


def test_weights_are_recorded_and_count_the_rows_that_where_takes(tmp_path: Path) -> None:
    table = librehps.ScoreTable(scored(0))
    weights = {"overall": 1, "aesthetic": 0.5}
    mine = librehps.filter_rows(table, weights=weights, where={"gen": "x"}, top=1, per="prompt")
    only_x = librehps.filter_rows(table, where={"gen": "x"})
    picked = librehps.best_of_n(only_x, weights=weights)
    assert [row["id"] for row in mine.rows()] == [record["id"] for record in picked.records]
    mine.write(tmp_path / "filter.jsonl")
    picked.write(tmp_path / "best.parquet")
    for name in ("filter.jsonl", "best.parquet"):
        settings = librehps.read_scores(tmp_path / name).settings
        assert settings["weighed"] == {"weights": weights, "normalise": "prompt"}
    both = [tmp_path / "filter.jsonl", put(tmp_path, "all.parquet", scored(0))]
    table = librehps.read_scores(both)
    assert len(table) == len(mine) + ROWS
    assert (table.settings["model"], "weighed" in table.settings) == ("one/first", False)


def test_scales_of_mus_are_alike_also_without_settings(joined: librehps.ScoreTable) -> None:
    bare = librehps.ScoreTable(joined.table)
    for table in (bare, joined):
        for weights, normalise in (("overall_mu=1", "none"), ("second.overall=1", "prompt")):
            assert librehps.best_of_n(table, weights=weights).weights.normalise == normalise
