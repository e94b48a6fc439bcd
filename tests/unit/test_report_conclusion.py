"""The sentences at the head of a report claim no more than the figures allow."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from librehps.decide.leaderboard import leaderboard
from librehps.decide.standings import Leaderboard
from librehps.report.choose import Places, chosen_rows
from librehps.report.conclusion import conclusion_of, text_of
from librehps.scores.score_table import ScoreTable
from report_data import AGREEMENT, scored, with_errors


def table_of(means: dict[str, float], prompts: int, seed: int = 0) -> pa.Table:
    """A row for each generator and prompt; mu is normal around the generator's mean."""
    rng = np.random.default_rng(seed)
    names = [name for name in means for _ in range(prompts)]
    texts = [f"prompt {i}" for _ in means for i in range(prompts)]
    table = scored([f"{i}.png" for i in range(len(names))], texts, generator=names)
    for axis in ("overall", "alignment", "coherence", "style"):
        mu = np.array([rng.normal(means[name]) for name in names], np.float32)
        for column, values in ((axis, 1 / (1 + np.exp(-mu))), (f"{axis}_mu", mu)):
            table = table.set_column(table.column_names.index(column), column, pa.array(values))
    return table


def said(table: pa.Table, board: Leaderboard | None) -> str:
    rows = chosen_rows(ScoreTable(table), None, None, Places(Path()))
    return text_of(conclusion_of(rows, board, None))


def test_a_clear_leader_of_two_and_of_many() -> None:
    table = table_of({"ant": 2.0, "bee": 0.0}, 80)
    text = said(table, leaderboard(table, "generator", resamples=400))
    assert text.startswith("ant has better overall scores than bee on ")
    assert "of 80 shared prompts (95 % interval " in text
    assert "Clear leaders on other axes: ant on alignment, coherence and style." in text
    table = table_of({"ant": 2.0, "bee": 0.0, "cow": -1.0}, 80)
    text = said(table, leaderboard(table, "generator", resamples=400))
    assert text.startswith("ant has the best overall scores of 3 generators. Against bee, the next")


def test_equal_generators_are_not_told_apart() -> None:
    claims = 0
    for seed in range(20):
        table = table_of({"ant": 0.0, "bee": 0.0}, 40, seed)
        board = leaderboard(table, "generator", "overall", resamples=200)
        text = said(table, board)
        doubted = "cannot be told apart" in text or "this is not certain" in text
        assert doubted == ("has better" not in text)
        ranks = [standing.rank for standing in board.boards[0].standings]
        assert ("cannot be told apart" in text) == (ranks == [1, 1])
        claims += "has better" in text
        lead = board.boards[0].leads[1]
        if "has better" in text:
            assert lead.low > 0.5
    assert claims <= 3


def test_a_leader_among_close_and_weaker_generators() -> None:
    table = table_of({"ant": 0.0, "bee": 0.05, "cow": -3.0}, 60)
    text = said(table, leaderboard(table, "generator", "overall", resamples=400))
    assert "ant" in text.partition(" cannot be told apart by overall")[0]
    assert "bee" in text.partition(" cannot be told apart by overall")[0]
    assert "has better scores than cow" in text


def test_few_prompts_claim_little() -> None:
    table = table_of({"ant": 5.0, "bee": 0.0}, 3)
    text = said(table, leaderboard(table, "generator", "overall", resamples=400))
    assert "cannot be told apart" in text
    lead = leaderboard(table, "generator", "overall", resamples=400).boards[0].leads[1]
    assert (lead.value, lead.low < 0.8) == (1.0, True)
    table = table_of({"ant": 5.0, "bee": 0.0}, 1)
    text = said(table, leaderboard(table, "generator", "overall", resamples=400))
    assert text.startswith("One shared prompt is too few to compare ant and bee.")


def test_without_generators_the_distribution_is_told() -> None:
    table = with_errors(scored(["x"] * 11, ["p"] * 11), {3: ("EmptyFileError", "empty")})
    text = said(table, None)
    assert "The overall scores of 10 rows go from 0.12 to 0.88; half of them lie between" in text
    assert "Best: item 0. Worst: item 10." in text
    assert text.endswith("1 of 11 rows could not be scored (9.1 %).")
    assert said(scored(["x"], ["p"]), None).startswith("One row has an overall score: ")
    equal = pa.concat_tables([scored(["x"], ["p"])] * 3)
    assert said(equal, None).startswith("All 3 overall scores are equal: 0.88. All 3 rows")


@pytest.mark.parametrize(("low", "doubt"), [(0.65, False), (0.48, True)])
def test_agreement_with_people_by_chance_is_called_so(low: float, doubt: bool) -> None:
    from dataclasses import replace

    rows = chosen_rows(ScoreTable(scored(["x"] * 3, ["p"] * 3)), None, None, Places(Path()))
    agreement = replace(AGREEMENT, interval=(low, 0.81))
    text = text_of(conclusion_of(rows, None, agreement))
    assert "in 73 % of 90 pairs (95 % interval" in text
    assert ("cannot be told from chance" in text) == doubt
