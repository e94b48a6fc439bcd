"""Reading calibration.json."""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

from librehps.decide.probability import Platt
from librehps.errors import CalibrationError, CalibratorMismatchError, UsageError


@dataclass(frozen=True)
class PlattCalibrators:
    """The fits of one file: `default`, and one for each benchmark."""

    default: Platt
    per_benchmark: Mapping[str, Platt]

    def get(self, benchmark: str) -> Platt:
        """Return the fit of a benchmark; raises CalibrationError, naming those there are."""
        if benchmark not in self.per_benchmark:
            known = ", ".join(self.per_benchmark) or "none"
            raise CalibrationError(f"no fit for benchmark {benchmark!r}; the file has: {known}")
        return self.per_benchmark[benchmark]


# What a caller may give: a fit, the fits of a file, or the path of a calibration.json.
Calibrator = Platt | PlattCalibrators | str | Path | None


def load_platt_calibrator(path: str | Path, benchmark: str | None = None) -> PlattCalibrators:
    """The fits in a file; `default` is the global one, or that of `benchmark` where given.

    Accepts `{"per_benchmark": {name: {"a", "b"}}, "global": {"a", "b"}}` and `{"a", "b"}`.
    Raises FileNotFoundError, and CalibrationError for a file that cannot be used.
    """
    content = _read(Path(path))
    origin = {key: content.get(key) for key in ("model", "fingerprint")}
    if "a" in content or "b" in content:
        calibrators = PlattCalibrators(_fit(path, "the file", content, origin), {})
    elif "global" not in content:
        raise CalibrationError(
            f"{path} has no global fit", hint="It needs a `global` entry beside `per_benchmark`."
        )
    else:
        fits = content.get("per_benchmark", {})
        if not isinstance(fits, dict):
            raise CalibrationError(f"{path}: per_benchmark is not an object")
        named = {name: _fit(path, name, fit, origin) for name, fit in fits.items()}
        calibrators = PlattCalibrators(_fit(path, "global", content["global"], origin), named)
    if benchmark is None:
        return calibrators
    return PlattCalibrators(calibrators.get(benchmark), calibrators.per_benchmark)


def check_origin(calibrator: Platt, model: str, fingerprint: str) -> None:
    """Raise CalibratorMismatchError where the fit is of other weights; unnamed ones pass."""
    by_print = calibrator.fingerprint is not None
    theirs = calibrator.fingerprint if by_print else calibrator.model
    ours = fingerprint if by_print else model
    if theirs is not None and theirs != ours:
        raise CalibratorMismatchError(
            f"the calibrator was fitted for {calibrator.model or 'a model'} "
            f"({calibrator.fingerprint or 'no fingerprint'}), not for {model} ({fingerprint})",
            hint="Its probabilities would be wrong: use the calibration.json of this model.",
        )


def load_for(path: Path, model: str | None, fingerprint: str | None) -> PlattCalibrators:
    """The fits in a file, for scores that say of which weights they are, or do not (None).

    Raises UsageError where there is no such file, CalibrationError where it is of other weights.
    """
    if not path.is_file():
        raise UsageError(f"no such calibration file: {path}")
    fits = load_platt_calibrator(path)
    if model is not None and fingerprint is not None:
        check_origin(fits.default, model, fingerprint)
    return fits


def fit_for(calibrator: Calibrator, settings: Mapping[str, Any]) -> Platt | None:
    """Return the fit of win probabilities for scores with this settings record.

    A PlattCalibrators gives its `default`, a path the global fit in the file. Raises
    CalibrationError where the fit is of another model than the scores.
    """
    model, fingerprint = settings.get("model"), settings.get("fingerprint")
    if calibrator is None:
        return None
    if isinstance(calibrator, str | Path):
        return load_for(Path(calibrator), model, fingerprint).default
    fit = calibrator.default if isinstance(calibrator, PlattCalibrators) else calibrator
    if model is not None and fingerprint is not None:
        check_origin(fit, model, fingerprint)
    return fit


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise
    except (ValueError, OSError) as error:
        raise CalibrationError(f"{path} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise CalibrationError(f"{path} does not hold a JSON object")
    return content


def _fit(path: str | Path, name: str, fit: Any, origin: Mapping[str, Any]) -> Platt:
    a, b = (fit.get("a"), fit.get("b")) if isinstance(fit, dict) else (None, None)
    if not (_is_number(a) and _is_number(b)):
        raise CalibrationError(f"{path}: {name} needs finite numbers `a` and `b`")
    if a <= 0:
        raise CalibrationError(f"{path}: {name} has a slope of {a}; it must be above 0")
    return Platt(float(a), float(b), origin["model"], origin["fingerprint"])


def _is_number(value: object) -> TypeGuard[float]:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    # False for NaN, and for integers that no float holds.
    return abs(value) < sys.float_info.max
