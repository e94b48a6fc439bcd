"""Calibrate pair probabilities: choose the pairs to fit on, and fit Platt or temperature scaling.

Platt scaling is p = sigmoid(a * gap + b), with the targets of Platt (1999), section 2.2, which keep
the slope finite if no pair is wrong. Temperature scaling has b = 0 and a = 1 / T.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from librehps.choices import CalibrationMethod, check_choice
from librehps.decide.calibrators import PlattCalibrators, load_platt_calibrator
from librehps.decide.probability import Platt
from librehps.errors import CalibrationError
from librehps.evaluate.metrics import Floats
from librehps.evaluate.scored_pairs import ScoredPairs
from librehps.files import write_whole, writing
from librehps.preferences.pairs import Preferences
from librehps.types import AXES

__all__ = [
    "CalibrationContractError",
    "CalibrationMethod",
    "PerBenchmarkPlattCalibrator",
    "PlattCalibrator",
    "PlattCalibrators",
    "calibrate",
    "fits",
    "load_platt_calibrator",
]

# Names of the package librehps 1.1.2.
CalibrationContractError = CalibrationError
PlattCalibrator, PerBenchmarkPlattCalibrator = Platt, PlattCalibrators

MIN_FIT_PAIRS = 50


@dataclass(frozen=True)
class Calibration:
    """The fits, and the content of their calibration.json.

    `unfitted` is the number of pairs of each benchmark that has too few for a fit.
    """

    calibrators: PlattCalibrators
    content: dict[str, Any]
    unfitted: dict[str, int] = field(default_factory=dict)

    def write(self, output: Path) -> None:
        """Write the calibration.json `output`; raises OutputError."""
        with writing(output):
            write_whole(output, json.dumps(self.content, indent=1) + "\n")


def fits(pairs: ScoredPairs) -> NDArray[np.bool_]:
    """Return a mask of the tenth of the pairs to fit on, (n,); the others are held out.

    The published split is by the sha256 of phaseC|benchmark|index. The reduction of the digest is
    not published; here it is the first 8 bytes, big-endian, modulo 10.
    """
    return np.array([is_fitted(b, i) for b, i in zip(pairs.benchmark, pairs.index, strict=True)])


def is_fitted(benchmark: str, index: int) -> bool:
    """Return whether the pair with this index is in the tenth to fit on."""
    return _bucket(f"phaseC|{benchmark}|{index}") == 0


def calibrate(
    pairs: ScoredPairs, method: CalibrationMethod, model: str | None, fingerprint: str | None
) -> Calibration:
    """Return one fit per benchmark and one for all, fitted on the pairs that `fits` chooses.

    Ties are left out. A benchmark with fewer than 50 pairs to fit on gets no fit. Raises
    CalibrationError for fewer than 50 pairs in total, and for a slope that is not above 0.
    """
    chosen = pairs.where(_is_decided(pairs.preferred()) & fits(pairs))
    _check_count(len(chosen), [a for a in pairs.axes[1:] if not np.isnan(pairs.preferred(a)).all()])
    check_choice(method, CalibrationMethod, "method")
    fit = METHODS[method]
    origin = (model, fingerprint)
    whole = Platt(*_checked(fit(chosen.gap(), chosen.preferred()), "all pairs"), *origin)
    named, unfitted = {}, {}
    for name in sorted(set(chosen.benchmark)):
        own = chosen.where(chosen.benchmark == name)
        if len(own) >= MIN_FIT_PAIRS:
            named[name] = Platt(*_checked(fit(own.gap(), own.preferred()), name), *origin)
        else:
            unfitted[name] = len(own)
    content = {
        "model": model,
        "fingerprint": fingerprint,
        "method": method,
        "pairs": len(chosen),
        "per_benchmark": {name: {"a": p.a, "b": p.b} for name, p in named.items()},
        "global": {"a": whole.a, "b": whole.b},
    }
    return Calibration(PlattCalibrators(whole, named), content, unfitted)


def check_enough(preferences: Preferences) -> None:
    """Raise the CalibrationError of too few pairs, which needs no scores."""
    overall, *others = AXES
    judged = np.array([p.preference.get(overall, np.nan) for p in preferences.pairs])
    fitted = np.array([is_fitted(p.benchmark, p.index) for p in preferences.pairs])
    known = {axis for pair in preferences.pairs for axis in pair.preference}
    _check_count(int((_is_decided(judged) & fitted).sum()), [a for a in others if a in known])


def _check_count(count: int, axes: Sequence[str]) -> None:
    """Raise CalibrationError for too few pairs; `axes` are the others that pairs are judged on."""
    if count >= MIN_FIT_PAIRS:
        return
    only = f" The pairs are also judged on {', '.join(axes)}." if axes else ""
    raise CalibrationError(
        f"too few pairs to fit on ({count} judged on overall; expected at least {MIN_FIT_PAIRS})",
        hint=f"A tenth of the pairs is used: give about {10 * MIN_FIT_PAIRS} pairs judged on "
        f"overall, not ties.{only}",
    )


def fit_platt(gap: Floats, outcome: Floats) -> tuple[float, float]:
    """Return the (a, b) of maximum likelihood."""
    target = _platt_targets(outcome)
    return _minimised(lambda x: _loss(x[0] * gap + x[1], target), [1.0, 0.0])


def fit_temperature(gap: Floats, outcome: Floats) -> tuple[float, float]:
    """Return the (1 / T, 0) of maximum likelihood."""
    target = _platt_targets(outcome)
    return _minimised(lambda x: _loss(x[0] * gap, target), [1.0])


METHODS: dict[CalibrationMethod, Callable[[Floats, Floats], tuple[float, float]]] = {
    "platt": fit_platt,
    "temperature": fit_temperature,
}


def _minimised(loss: Callable[[Floats], float], start: list[float]) -> tuple[float, float]:
    from scipy.optimize import minimize

    found = minimize(loss, start, method="BFGS").x
    return float(found[0]), float(found[1]) if len(found) > 1 else 0.0


def _loss(logit: Floats, target: Floats) -> float:
    """Return the mean cross-entropy of sigmoid(logit)."""
    return float((np.logaddexp(0, logit) - target * logit).mean())


def _platt_targets(outcome: Floats) -> Floats:
    wins = outcome.sum()
    low, high = 1 / (len(outcome) - wins + 2), (wins + 1) / (wins + 2)
    targets: Floats = low + outcome * (high - low)
    return targets


def _checked(fit: tuple[float, float], name: str) -> tuple[float, float]:
    if not np.isfinite(fit).all() or fit[0] <= 0:
        raise CalibrationError(
            f"invalid fit on {name}: slope {fit[0]:.3g}, so higher scores do not win",
            hint="Check that a and b, or 1 and 0, are not swapped in the preferences.",
        )
    return fit


def _is_decided(outcome: Floats) -> NDArray[np.bool_]:
    decided: NDArray[np.bool_] = ~np.isnan(outcome) & (outcome != 0.5)
    return decided


def _bucket(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") % 10
