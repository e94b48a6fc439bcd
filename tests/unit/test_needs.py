"""Intervals of win rates that hold at any stop, and what narrows them to a width."""

import json
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from conftest import Cli
from librehps.decide.generators import GeneratorTable
from librehps.decide.leaderboard import leaderboard
from librehps.decide.sequential import sequential_interval
from librehps.decide.shared_prompts import share
from librehps.decide.standings import Board, Need
from librehps.decide.win_shares import win_shares
from librehps.errors import UsageError

STEP, MOST, STREAMS = 10, 200, 600


def table_of(mu: np.ndarray) -> pa.Table:
    """A score table of mus (prompts, generators, samples); generators are g0, g1, ..."""
    prompts, count, samples = mu.shape
    flat = mu.reshape(-1)
    return pa.table(
        {
            "id": [f"{n}.png" for n in range(len(flat))],
            "media": ["m"] * len(flat),
            "status": ["ok"] * len(flat),
            "prompt": np.repeat([f"{n:04d}" for n in range(prompts)], count * samples),
            "gen": np.tile(np.repeat([f"g{n}" for n in range(count)], samples), prompts),
            "overall": 1 / (1 + np.exp(-flat)),
            "overall_mu": flat,
        }
    )


def drawn(
    rng: np.random.Generator, prompts: int, samples: int, strength: float, spread: float = 0.0
) -> pa.Table:
    """Two generators; `spread` is how much their difference depends on the prompt."""
    mu = rng.gumbel(size=(prompts, 2, samples))
    mu[:, 0] += strength + spread * rng.standard_normal((prompts, 1))
    return table_of(mu)


def board_of(table: pa.Table, **options: object) -> Board:
    return leaderboard(table, "gen", resamples=400, **options).boards[0]


def need_of(table: pa.Table, **options: object) -> Need:
    [need] = board_of(table, **options).needs
    return need


@cache
def _sequential(wins: int, total: int) -> tuple[float, float]:
    return sequential_interval(np.array([0.0, 1.0]), np.array([total - wins, wins], float))


def _fixed(wins: int, total: int) -> tuple[float, float]:
    """The interval for one look, with half a win each way as for strengths."""
    rate = (wins + 0.5) / (total + 1)
    half = 1.96 * np.sqrt(rate * (1 - rate) / total)
    return rate - half, rate + half


@pytest.mark.parametrize("rate", [0.5, 0.6])
def test_intervals_at_a_stop_hold_as_often_as_they_say(rate: float) -> None:
    """The user stops when the interval excludes one half; 95 % of the intervals hold the rate."""
    rng = np.random.default_rng(7)
    looks = np.arange(STEP, MOST + 1, STEP)
    held = dict.fromkeys((_sequential, _fixed), 0)
    for _ in range(STREAMS):
        wins = np.cumsum(rng.random(MOST) < rate)[looks - 1]
        for interval in held:
            for won, total in zip(wins.tolist(), looks.tolist(), strict=True):
                low, high = interval(won, total)
                if not low <= 0.5 <= high:
                    break
            held[interval] += low <= rate <= high
    assert held[_sequential] / STREAMS >= 0.95
    assert held[_fixed] / STREAMS < 0.935


def test_the_interval_depends_on_shares_alone_and_narrows_with_their_variance() -> None:
    wide = sequential_interval(np.array([0.0, 1.0]), np.array([50.0, 50.0]))
    narrow = sequential_interval(np.array([0.25, 0.75]), np.array([50.0, 50.0]))
    assert wide[0] < narrow[0] < 0.5 < narrow[1] < wide[1]
    assert narrow[1] - narrow[0] < 0.62 * (wide[1] - wide[0])
    mirrored = sequential_interval(np.array([0.75, 0.25]), np.array([50.0, 50.0]))
    assert mirrored == pytest.approx(narrow)
    certain = sequential_interval(np.array([1.0]), np.array([40.0]))
    assert 0.75 < certain[0] < 0.95, "forty wins prove no rate of 1"
    assert certain[1] == 1


@pytest.mark.parametrize("sequential", [True, False])
def test_so_many_more_prompts_narrow_the_interval_to_the_target(sequential: bool) -> None:
    rng = np.random.default_rng(0)
    now = need_of(drawn(rng, 60, 2, 0.4), target_width=0.1, sequential=sequential)
    assert now.more_prompts is not None and now.rate.high - now.rate.low > 0.1
    again = need_of(
        drawn(rng, 60 + now.more_prompts, 2, 0.4), target_width=0.1, sequential=sequential
    )
    assert again.rate.high - again.rate.low == pytest.approx(0.1, rel=0.15)


@pytest.mark.parametrize("sequential", [True, False])
def test_no_more_is_needed_just_where_the_interval_is_narrow_enough(sequential: bool) -> None:
    rng = np.random.default_rng(1)
    for prompts, samples, strength in ((1, 2, 0.0), (5, 2, 20.0), (40, 1, 0.3), (300, 2, 1.0)):
        for width in (0.02, 0.1, 0.3, 0.9):
            need = need_of(
                drawn(rng, prompts, samples, strength), target_width=width, sequential=sequential
            )
            is_wide = need.rate.high - need.rate.low > width
            assert is_wide == (need.more_prompts != 0)
            assert is_wide == (need.more_samples != 0)


def test_prompts_and_samples_are_told_apart() -> None:
    """Equal prompts need samples; prompts that differ need prompts."""
    rng = np.random.default_rng(2)
    alike = need_of(drawn(rng, 200, 4, 0.5), target_width=0.1)
    assert alike.between == pytest.approx(0, abs=0.15)
    assert alike.more_samples is not None and alike.more_samples > 0
    differing = need_of(drawn(rng, 200, 4, 0.5, spread=4), target_width=0.05)
    assert differing.between is not None and differing.between > 0.6
    assert differing.more_samples is None and differing.more_prompts is not None
    single = need_of(drawn(rng, 200, 1, 0.5), target_width=0.05)
    assert single.between is None and single.more_samples is None


def test_more_samples_narrow_the_interval_as_told() -> None:
    rng = np.random.default_rng(3)
    now = need_of(drawn(rng, 150, 2, 0.5, spread=0.3), target_width=0.09, sequential=False)
    assert now.more_samples is not None and now.more_samples > 0
    more = drawn(rng, 150, 2 + now.more_samples, 0.5, spread=0.3)
    then = need_of(more, target_width=0.09, sequential=False)
    assert then.rate.high - then.rate.low == pytest.approx(0.09, rel=0.2)


def test_variance_within_prompts_against_redrawn_samples() -> None:
    rng = np.random.default_rng(4)
    mu = rng.gumbel(size=(3000, 2, 3))
    rows = GeneratorTable(table_of(mu), "gen")
    found = win_shares(share(rows.scored("overall"), 2))
    # All prompts are alike, so that the variance over prompts is that of redrawn samples.
    assert found.within[0] == pytest.approx(found.variance(0), rel=0.05)
    shares = (mu[:, 0, :, None] > mu[:, 1, None, :]).mean(axis=(1, 2))
    values, counts = np.unique(shares, return_counts=True)
    assert np.allclose(found.of_pair(0), (values, counts))


def test_needs_follow_the_order_of_the_board() -> None:
    rng = np.random.default_rng(5)
    mu = rng.gumbel(size=(50, 3, 2)) + np.array([0.0, 2.0, 1.0])[:, None]
    board = board_of(table_of(mu), target_width=0.2)
    assert [(need.a, need.b) for need in board.needs] == [(0, 1), (0, 2), (1, 2)]
    for need in board.needs:
        assert need.rate.value == pytest.approx(board.wins[need.a][need.b])
        assert need.rate.low < need.rate.value < need.rate.high
    assert not board_of(table_of(mu)).needs


@pytest.mark.parametrize("width", [0, 1, -0.1, float("nan")])
def test_a_wrong_width_is_refused(width: float) -> None:
    with pytest.raises(UsageError, match="--target-width: expected a number between 0 and 1"):
        board_of(table_of(np.zeros((3, 2, 1))), target_width=width)


def test_many_generators_are_refused_by_name() -> None:
    with pytest.raises(UsageError, match="at most 100 generators, got 101"):
        board_of(table_of(np.zeros((2, 101, 1))), sequential=True)


def test_the_command_says_what_is_needed_and_when_intervals_hold(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "s.parquet"
    table = drawn(np.random.default_rng(6), 40, 2, 0.5)
    pq.write_table(table, file)
    words = ("leaderboard", file, "--by", "gen", "--target-width", "0.1")
    shown = cli(*words, "--table", COLUMNS="120")
    assert "95 % intervals of win rates, and what more narrows them to 0.1" in shown.stdout
    assert "1 over 2" in shown.stdout
    assert "hold whenever you stop adding prompts (not samples)" in shown.stderr
    record = json.loads(cli(*words, "--json").stdout)
    assert (record["target_width"], record["sequential"]) == (0.1, True)
    [pair] = record["pairs"]
    need = need_of(table, target_width=0.1)
    assert pair == {**pair, "a": "g0", "b": "g1", "more_prompts": need.more_prompts}
    fixed = cli(*words, "--fixed", "--markdown")
    assert "| 1 over 2 |" in fixed.stdout
    assert "hold for one look" in fixed.stderr and "use --sequential" in fixed.stderr
    alone = cli("leaderboard", file, "--by", "gen", "--sequential", "--table")
    assert "95 % intervals of win rates" in alone.stdout
    assert "or samples" not in alone.stdout
    fixed = cli("leaderboard", file, "--by", "gen", "--fixed", "--table")
    assert "95 % intervals of win rates" in fixed.stdout and "hold for one look" in fixed.stderr
    assert "the rows hold no intervals of win rates" in cli(*words, "--output", "-").stderr
    assert "pairs" not in json.loads(cli("leaderboard", file, "--by", "gen", "--json").stdout)
