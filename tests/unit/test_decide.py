"""Pair formulas and calibration files."""

import json
import math
from pathlib import Path

import pytest

from librehps.decide.calibrators import check_origin
from librehps.decide.probability import Platt, judge, uncalibrated_probability
from librehps.errors import CalibrationError, CalibratorMismatchError
from librehps.evaluate.calibration import load_platt_calibrator
from librehps.types import ScoreAxis


def axis(mu: float, sigma: float = 1.0) -> ScoreAxis:
    return ScoreAxis(1 / (1 + math.exp(-mu)), sigma, mu)


def test_formulas() -> None:
    assert uncalibrated_probability(axis(1), axis(0)) == pytest.approx(
        1 / (1 + math.exp(-1 / math.sqrt(2)))
    )
    assert uncalibrated_probability(axis(1), axis(0), 2.0) == pytest.approx(
        1 / (1 + math.exp(-0.5 / math.sqrt(2)))
    )
    plain = 1 / (1 + math.exp(-(2 * 0.5 + 1)))
    other = 1 / (1 + math.exp(-(2 * 0.5 - 1)))
    assert Platt(2, 1).probability(0.5, symmetric=False) == pytest.approx(plain)
    assert Platt(2, 1).probability(0.5) == pytest.approx((plain + other) / 2)


@pytest.mark.parametrize("gap", [-1e6, -800.0, 0.0, 800.0, 1e6])
def test_no_overflow(gap: float) -> None:
    p = Platt(5, 3).probability(gap)
    assert p == pytest.approx(0.5 if gap == 0 else float(gap > 0))


def test_the_offset_moves_the_plain_winner_but_not_the_symmetric_one() -> None:
    a, b, fit = axis(0.1), axis(0.0), Platt(1, -2)
    assert judge(a, b, fit, symmetric=False).winner == "b"
    assert judge(a, b, fit).winner == "a"
    assert judge(a, a, fit).winner == "tie"
    assert judge(a, a, fit).probability == pytest.approx(0.5)


def test_confidence() -> None:
    assert judge(axis(0.1), axis(0), Platt(1, 0)).confident is False
    assert judge(axis(1), axis(0), Platt(1, 0)).confident
    assert judge(axis(1), axis(0), Platt(1, 0), probability_cutoff=0.9).confident is False
    assert judge(axis(9), axis(0)).confident
    assert judge(axis(9, 3.0), axis(0)).confident is False
    assert judge(axis(9, 3.0), axis(0), Platt(1, 0)).confident


def write(folder: Path, content: object) -> Path:
    file = folder / "calibration.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    return file


def test_calibration_files(tmp_path: Path) -> None:
    full = {"per_benchmark": {"hpdv3": {"a": 2, "b": 0}}, "global": {"a": 1.5, "b": 0.1},
            "model": "m", "fingerprint": "f"}  # fmt: skip
    loaded = load_platt_calibrator(write(tmp_path, full))
    assert loaded.default == Platt(1.5, 0.1, "m", "f")
    assert loaded.get("hpdv3") == Platt(2, 0, "m", "f")
    assert load_platt_calibrator(write(tmp_path, full), "hpdv3").default.a == 2
    bare = load_platt_calibrator(str(write(tmp_path, {"a": 1, "b": 0})))
    assert bare.default == Platt(1, 0)
    with pytest.raises(FileNotFoundError):
        load_platt_calibrator(tmp_path / "gone.json")
    with pytest.raises(CalibrationError, match="hpdv3"):
        loaded.get("other")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"per_benchmark": {"hpdv3": {"a": 1, "b": 0}}}, "missing key `global`"),
        ("{", "cannot read"),
        ([1], "JSON object"),
        ({"global": {"a": 1}}, "finite numbers"),
        ({"global": {"a": "1", "b": 0}}, "finite numbers"),
        ('{"global": {"a": NaN, "b": 0}}', "finite numbers"),
        ({"global": {"a": -1, "b": 0}}, "above 0"),
        ({"global": {"a": 1, "b": 0}, "per_benchmark": 3}, "per_benchmark"),
    ],
)
def test_calibration_files_that_cannot_be_used(tmp_path: Path, content: object, words: str) -> None:
    with pytest.raises(CalibrationError, match=words):
        load_platt_calibrator(write(tmp_path, content))


def test_origins() -> None:
    check_origin(Platt(1, 0), "m", "f")
    check_origin(Platt(1, 0, "renamed", "f"), "m", "f")
    check_origin(Platt(1, 0, "m"), "m", "f")
    for foreign in (Platt(1, 0, "m", "g"), Platt(1, 0, "n")):
        with pytest.raises(CalibratorMismatchError):
            check_origin(foreign, "m", "f")
