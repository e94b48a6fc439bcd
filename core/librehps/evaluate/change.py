"""The change that a new calibration makes on pairs that it was not fitted on."""

from dataclasses import dataclass

import numpy as np

from librehps.decide.calibrators import PlattCalibrators
from librehps.decide.standings import Interval
from librehps.errors import CalibrationError
from librehps.evaluate.evaluation import probabilities
from librehps.evaluate.metrics import Floats, mean_of, nll
from librehps.evaluate.scored_pairs import ScoredPairs

SIGMAS, CURRENT = "the sigmas", "the current calibration"


@dataclass(frozen=True)
class Change:
    """The mean NLL of win probabilities on held-out pairs, before and after a new fit.

    NLL is the proper score that a fit minimises; less is better. `before` has that of the
    alternatives to the new fit: no calibration (from the sigmas) and the current calibration, where
    known. `difference` is after minus the best of these, with its 95 % interval over prompts; NaN
    if there is none.
    """

    pairs: int
    before: dict[str, float]
    after: float
    best: str | None
    difference: Interval

    @property
    def is_worse(self) -> bool:
        """True if an alternative has a lower NLL than the new fit."""
        return self.difference.value > 0

    def check(self, name: object) -> None:
        """Raise CalibrationError if the new fit is worse; `name` is the file to be written."""
        if not self.is_worse:
            return
        hint = "Keep what you have, or give more pairs. To write the file anyway: --accept-worse"
        if self.after < self.before.get(CURRENT, 0):
            hint = (
                "Give more pairs. The fit is better than the current calibration; to write it: "
                "--accept-worse"
            )
        raise CalibrationError(
            f"{name} not written: on {self.pairs} held-out pairs the fit is worse than "
            f"{self.best}: {self.sentence()}",
            hint=hint,
        )

    def sentence(self) -> str:
        """Return both figures and the interval of their difference, as text."""
        if not self.pairs:
            return "no held-out pairs to measure it on"
        if self.best is None:
            return f"nll {self.after:.4f} after, unknown before: the scores have no sigmas"
        ends = f", 95 % {self.difference.low:+.4f} to {self.difference.high:+.4f}"
        ends = "" if np.isnan(self.difference.low) else ends
        others = "".join(
            f"; {name}: {value:.4f}" for name, value in self.before.items() if name != self.best
        )
        return (
            f"nll {self.before[self.best]:.4f} before ({self.best}), {self.after:.4f} after "
            f"({self.difference.value:+.4f}{ends}){others}"
        )


def change_on(
    held_out: ScoredPairs, fitted: PlattCalibrators, current: PlattCalibrators | None
) -> Change:
    """Return the change on held-out pairs from no calibration, or the current one, to a new one."""
    outcome = held_out.preferred()
    pairs = held_out.where(~np.isnan(outcome) & (outcome != 0.5))
    after = _loss(pairs, fitted)
    before = {SIGMAS: _loss(pairs, None)}
    if current is not None:
        before[CURRENT] = _loss(pairs, current)
    known = {name: loss for name, loss in before.items() if not np.isnan(loss).any()}
    if not len(pairs) or not known:
        return Change(len(pairs), {}, _mean(after), None, Interval(float("nan")))
    best = min(known, key=lambda name: known[name].mean())
    difference = mean_of(after - known[best], pairs.prompt)
    means = {name: _mean(loss) for name, loss in known.items()}
    return Change(len(pairs), means, _mean(after), best, difference)


def _loss(pairs: ScoredPairs, calibrators: PlattCalibrators | None) -> Floats:
    return nll(probabilities(pairs, calibrators), pairs.preferred())


def _mean(values: Floats) -> float:
    return float(values.mean()) if len(values) else float("nan")
