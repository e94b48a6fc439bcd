"""Figures against values worked out by hand or by another library; fits against known slopes."""

import hashlib
import math

import numpy as np
import pytest
from scipy import stats

from librehps.decide.probability import Platt
from librehps.errors import CalibrationError
from librehps.evaluate import metrics
from librehps.evaluate.calibration import calibrate, fit_platt, fit_temperature, fits
from librehps.evaluate.evaluation import evaluate, probabilities
from librehps.evaluate.scored_pairs import ScoredPairs
from librehps.types import AXES

NAN = np.nan


def scored(gap: np.ndarray, preferred: np.ndarray, benchmark: str = "b") -> ScoredPairs:
    """Pairs of one axis, overall, whose mus differ by `gap`; sigma 1."""
    n = len(gap)
    mu, preference = np.full((n, 2, 5), NAN), np.full((n, 5), NAN)
    mu[:, 0, 0], mu[:, 1, 0], preference[:, 0] = gap, 0, preferred
    names = np.array([f"{side}{i}" for i in range(n) for side in "ab"], dtype=object)
    return ScoredPairs(
        axes=AXES,
        mu=mu,
        sigma=np.ones((n, 2, 5)),
        scalar=np.full((n, 2), NAN),
        preference=preference,
        rating=np.full((n, 2), NAN),
        prompt=np.array([f"p{i % 7}" for i in range(n)], dtype=object),
        benchmark=np.array([benchmark] * n, dtype=object),
        index=np.arange(n),
        media=names.reshape(n, 2),
        columns={"severity": np.array(["mild", "strong"] * n, dtype=object)[:n]},
    )


def simulated(count: int, slope: float, offset: float) -> ScoredPairs:
    rng = np.random.default_rng(1)
    gap = rng.normal(0, 2, count)
    p = 1 / (1 + np.exp(-(slope * gap + offset)))
    return scored(gap, (rng.random(count) < p).astype(float))


def test_accuracy_leaves_ties_out_and_halves_equal_scores() -> None:
    gap, preferred = np.array([1.0, -1.0, 0.0, 5.0]), np.array([1.0, 1.0, 1.0, 0.5])
    figures = evaluate(scored(gap, preferred)).benchmarks[0]
    assert (figures["n"], figures["ties"]) == (3, 1)
    assert figures["pair_acc"] == pytest.approx(1.5 / 3)


def test_a_verdict_that_is_not_confident_is_a_tie() -> None:
    p, outcome = np.array([0.9, 0.52, 0.48, 0.2]), np.array([1.0, 0.5, 0.0, 1.0])
    assert metrics.with_ties(p, outcome).tolist() == [1, 1, 0, 0]


def test_calibration_errors_by_hand() -> None:
    p, outcome = np.array([0.9, 0.9, 0.9, 0.6]), np.array([1.0, 1.0, 0.0, 1.0])
    # Bins of 0.9 and 0.6, and their mirror images, weigh the same in both orders.
    assert metrics.ece(p, outcome) == pytest.approx((3 * abs(0.9 - 2 / 3) + 0.4) / 4)
    assert metrics.brier(p, outcome).mean() == pytest.approx((0.01 * 2 + 0.81 + 0.16) / 4)
    expected = -(2 * math.log(0.9) + math.log(0.1) + math.log(0.6)) / 4
    assert metrics.nll(p, outcome).mean() == pytest.approx(expected)
    assert np.isfinite(metrics.nll(np.array([0.0]), np.array([1.0]))).all()


def test_the_interval_covers_and_knows_clusters() -> None:
    rng = np.random.default_rng(0)
    values = (rng.random(400) < 0.8).astype(float)
    alone = metrics.mean_of(values, np.arange(400).astype(object))
    width = 2 * 1.96 * math.sqrt(0.8 * 0.2 / 400)
    assert alone.high - alone.low == pytest.approx(width, rel=0.2)
    assert alone.low < alone.value < alone.high
    repeated = np.repeat(values[:40], 10)
    together = metrics.mean_of(repeated, np.repeat(np.arange(40), 10).astype(object))
    assert together.high - together.low > 2 * width


def test_sigma_that_marks_errors_is_seen() -> None:
    right = np.array([1.0, 1.0, 0.0, 0.0])
    assert metrics.sigma_auroc(np.array([1.0, 2.0, 3.0, 4.0]), right) == 1
    assert metrics.sigma_auroc(np.array([1.0, 1.0, 1.0, 1.0]), right) == 0.5
    assert math.isnan(metrics.sigma_auroc(np.array([NAN, 1.0, 1.0, 1.0]), right))


def test_rank_correlation_is_that_of_scipy() -> None:
    rng = np.random.default_rng(2)
    x = rng.normal(size=60)
    y = x + rng.normal(size=60)
    found = metrics.spearman(x, y)
    assert found.value == pytest.approx(stats.spearmanr(x, y).statistic)
    assert found.low < found.value < found.high


def test_the_fit_finds_slope_and_offset() -> None:
    pairs = simulated(20_000, 0.7, 0.4)
    a, b = fit_platt(pairs.gap(), pairs.preferred())
    assert (a, b) == pytest.approx((0.7, 0.4), abs=0.04)
    slope, nothing = fit_temperature(*(x(simulated(20_000, 0.7, 0)) for x in (
        ScoredPairs.gap, ScoredPairs.preferred)))  # fmt: skip
    assert slope == pytest.approx(0.7, abs=0.04)
    assert nothing == 0


def test_no_error_at_all_still_gives_a_finite_slope() -> None:
    gap = np.linspace(0.5, 3, 60)
    a, _ = fit_platt(np.concatenate([gap, -gap]), np.repeat([1.0, 0.0], 60))
    assert 0 < a < 100


def test_a_tenth_fits_by_the_published_hash() -> None:
    pairs = simulated(3000, 1, 0)
    chosen = fits(pairs)
    digest = hashlib.sha256(b"phaseC|b|17").digest()
    assert chosen[17] == (int.from_bytes(digest[:8], "big") % 10 == 0)
    assert 0.08 < chosen.mean() < 0.12


def test_calibration_lowers_the_error_on_pairs_it_has_not_seen() -> None:
    pairs = simulated(6000, 0.3, 0.2)
    fitted = calibrate(pairs, "platt", "m", "f00d")
    assert fitted.content["model"] == "m"
    assert fitted.content["fingerprint"] == "f00d"
    figures = evaluate(pairs.where(~fits(pairs)), fitted.calibrators).benchmarks[0]
    assert figures["ece_calibrated"] < 0.03 < figures["ece"]
    assert figures["nll_calibrated"] < figures["nll"]


def test_too_few_pairs_and_upside_down_scores_are_refused() -> None:
    with pytest.raises(CalibrationError, match="at least 50"):
        calibrate(simulated(300, 1, 0), "platt", None, None)
    with pytest.raises(CalibrationError, match="higher scores do not win"):
        calibrate(simulated(3000, -1, 0), "platt", None, None)


def test_probabilities_are_those_of_the_verdicts() -> None:
    from librehps.decide.calibrators import PlattCalibrators

    fit = Platt(0.8, 0.3)
    pairs = simulated(50, 1, 0)
    ours = probabilities(pairs, PlattCalibrators(fit, {}))
    assert ours == pytest.approx([fit.probability(gap) for gap in pairs.gap()])


def test_breakdowns() -> None:
    evaluation = evaluate(simulated(200, 2, 0), by=["severity"])
    assert [row["severity"] for row in evaluation.by["severity"]] == ["mild", "strong"]
    assert sum(row["n"] for row in evaluation.by["severity"]) == 200
