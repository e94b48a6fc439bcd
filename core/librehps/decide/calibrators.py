"""Read calibration.json, and check which model it was fitted for."""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

from librehps.decide.probability import Platt
from librehps.errors import CalibrationError, CalibratorMismatchError, UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class PlattCalibrators:
    """The fits of one calibration file: `default`, and one for each benchmark."""

    default: Platt
    per_benchmark: Mapping[str, Platt]

    @property
    def a(self) -> float:
        """The slope of the default fit."""
        return self.default.a

    @property
    def b(self) -> float:
        """The offset of the default fit."""
        return self.default.b

    @property
    def calibrators(self) -> Mapping[str, Platt]:
        """The same fits as `per_benchmark`."""
        return self.per_benchmark

    def apply(self, delta_mu: float) -> float:
        """Return P(a wins) by the plain formula of the default fit."""
        return self.default.apply(delta_mu)

    def apply_array(self, delta_mu: "ArrayLike") -> "NDArray[np.float64]":
        """Return P(a wins) by the plain formula of the default fit, for many differences."""
        return self.default.apply_array(delta_mu)

    def get(self, benchmark: str | None) -> Platt:
        """Return the fit of a benchmark, the default for None; raises CalibrationError."""
        if benchmark is None:
            return self.default
        if benchmark not in self.per_benchmark:
            known = ", ".join(self.per_benchmark) or "none"
            raise CalibrationError(
                f"the calibration file has no fit for benchmark {benchmark!r} (fits: {known})"
            )
        return self.per_benchmark[benchmark]


# A fit, the fits of a file, a dict with the numbers a and b, or the path of a calibration.json.
Calibrator = Platt | PlattCalibrators | Mapping[str, float] | str | Path | None
CALIBRATION_FILE = "calibration.json"


def load_platt_calibrator(path: str | Path, benchmark: str | None = None) -> PlattCalibrators:
    """Return the fits in a file; `default` is the global fit, or the fit of `benchmark` if given.

    Accepts `{"per_benchmark": {name: {"a", "b"}}, "global": {"a", "b"}}` and `{"a", "b"}`.
    Raises FileNotFoundError, and CalibrationError for an invalid file.
    """
    content = _read(Path(path))
    origin = {key: content.get(key) for key in ("model", "fingerprint")}
    if "a" in content or "b" in content:
        calibrators = PlattCalibrators(_fit(path, "the file", content, origin), {})
    elif "global" not in content:
        raise CalibrationError(
            f"{path}: missing key `global`", hint='Add "global": {"a": ..., "b": ...} to the file.'
        )
    else:
        fits = content.get("per_benchmark", {})
        if not isinstance(fits, dict):
            raise CalibrationError(f"{path}: expected an object in `per_benchmark`")
        named = {name: _fit(path, name, fit, origin) for name, fit in fits.items()}
        calibrators = PlattCalibrators(_fit(path, "global", content["global"], origin), named)
    if benchmark is None:
        return calibrators
    return PlattCalibrators(calibrators.get(benchmark), calibrators.per_benchmark)


def check_origin(calibrator: Platt, model: str, fingerprint: str) -> None:
    """Raise CalibratorMismatchError if the fit names other weights; a fit without a name passes."""
    by_print = calibrator.fingerprint is not None
    theirs = calibrator.fingerprint if by_print else calibrator.model
    ours = fingerprint if by_print else model
    if theirs is not None and theirs != ours:
        raise CalibratorMismatchError(
            f"the calibrator was fitted for {calibrator.model or 'a model'} "
            f"({calibrator.fingerprint or 'no fingerprint'}), not for {model} ({fingerprint})",
            hint="Use the calibration.json of this model: other probabilities would be wrong.",
        )


def as_fit(calibrator: Any) -> Platt | None:
    """Return the fit in a calibrator: of several the default, of a dict or object its a and b.

    Raises CalibrationError for numbers that are no fit.
    """
    if calibrator is None or isinstance(calibrator, Platt):
        return calibrator
    if isinstance(calibrator, PlattCalibrators):
        return calibrator.default
    if isinstance(calibrator, Mapping):
        fit = dict(calibrator)
    else:
        fit = {name: getattr(calibrator, name, None) for name in "ab"}
    return _fit("calibrator", type(calibrator).__name__, fit, {"model": None, "fingerprint": None})


def fits_of(
    path: str | Path | None, folder: Path, model: str, fingerprint: str
) -> PlattCalibrators | None:
    """Return the fits in `path`, else in the model's folder, None if that has no calibration.

    Raises CalibrationError for a missing or invalid file, or a fit of another model.
    """
    file = Path(path) if path is not None else folder / CALIBRATION_FILE
    if path is None and not file.exists():
        return None
    try:
        fits = load_platt_calibrator(file)
    except FileNotFoundError:
        raise CalibrationError(f"calibration file not found: {file}") from None
    check_origin(fits.default, model, fingerprint)
    return fits


def load_for(path: Path, model: str | None, fingerprint: str | None) -> PlattCalibrators:
    """Return the fits in a file, checked against the scores' model (None if unknown).

    Raises UsageError if the file is not found, CalibrationError if it was fitted for other weights.
    """
    if not path.is_file():
        raise UsageError(f"calibration file not found: {path}")
    fits = load_platt_calibrator(path)
    if model is not None and fingerprint is not None:
        check_origin(fits.default, model, fingerprint)
    return fits


def fit_for(calibrator: Calibrator, settings: Mapping[str, Any]) -> Platt | None:
    """Return the fit of win probabilities for scores with this settings record.

    Of a PlattCalibrators its `default`, of a path the global fit in the file. Raises
    CalibrationError if the fit and the scores are of different models.
    """
    model, fingerprint = settings.get("model"), settings.get("fingerprint")
    if calibrator is None:
        return None
    if isinstance(calibrator, str | Path):
        return load_for(Path(calibrator), model, fingerprint).default
    fit = as_fit(calibrator)
    if fit is not None and model is not None and fingerprint is not None:
        check_origin(fit, model, fingerprint)
    return fit


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise
    except (ValueError, OSError) as error:
        raise CalibrationError(f"cannot read {path}: {error}") from error
    if not isinstance(content, dict):
        raise CalibrationError(f"{path}: expected a JSON object")
    return content


def _fit(path: str | Path, name: str, fit: Any, origin: Mapping[str, Any]) -> Platt:
    a, b = (fit.get("a"), fit.get("b")) if isinstance(fit, dict) else (None, None)
    if not (_is_number(a) and _is_number(b)):
        raise CalibrationError(f"{path}: {name}: expected finite numbers `a` and `b`")
    if a <= 0:
        raise CalibrationError(f"{path}: {name}: expected a slope `a` above 0, got {a}")
    return Platt(float(a), float(b), origin["model"], origin["fingerprint"])


def _is_number(value: object) -> TypeGuard[float]:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    # False for NaN, and for integers that no float holds.
    return abs(value) < sys.float_info.max
