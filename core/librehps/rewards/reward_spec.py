"""Which number of a scored row is the reward."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, TypedDict

from librehps.choices import ResizeDevice, RewardScale, check_choice
from librehps.errors import UsageError

SUFFIX: dict[RewardScale, str] = {"mu": "_mu", "mean": ""}


class RewardOptions(TypedDict, total=False):
    """What every reward function can be told.

    Each may be None, as if it were left out. axis ("overall"), or weights of several, which are
    added up; scale: "mu", unbounded (the default), or "mean", in [0, 1], which saturates. resize:
    "cpu", the exact scores of `score_image`, or "device", where tensors stay on the model's device
    and are resized there, as floats. On the CPU, where it can be measured, mu then differs by 0.06
    at most (medians of 0.0003 to 0.0026, by the size of the pictures) on 1,200 rendered scenes with
    LibreHPS-Tiny, whose mu has a standard deviation of 3, and by 0.05 at most (median 0.004) on the
    golden checkpoint and media.
    """

    axis: str | None
    weights: Mapping[str, float] | None
    scale: RewardScale | None
    resize: ResizeDevice | None


@dataclass(frozen=True)
class RewardSpec:
    """Weight of each axis that counts, and on which scale they are added up."""

    weights: Mapping[str, float]
    scale: RewardScale = "mu"

    @property
    def name(self) -> str:
        """Axis and scale, as in `overall_mu`; of several axes `mix_mu` or `mix_mean`."""
        [*names] = self.weights
        return f"{names[0] if len(names) == 1 else 'mix'}_{self.scale}"

    def reward(self, row: Mapping[str, Any]) -> float | None:
        """The weighted sum of a scored row; None where an axis that counts has no finite value."""
        total = 0.0
        for name, weight in self.weights.items():
            value = row.get(f"{name}{SUFFIX[self.scale]}")
            if value is None or not math.isfinite(value):
                return None
            total += weight * value
        return total

    def check_axes(self, axes: Sequence[str]) -> None:
        """Raise UsageError for an axis that the model does not score."""
        for name in self.weights:
            if name not in axes:
                raise UsageError(f"unknown axis {name!r}: {', '.join(axes)}")

    def why_not(self, row: Mapping[str, Any]) -> tuple[str, str]:
        """(kind, reason) that a row has no reward."""
        if row.get("status") != "ok":
            return str(row.get("error_type")), str(row.get("error"))
        axes = ", ".join(self.weights)
        return (
            "NoValue",
            f"a row has no finite value on every one of {axes} (images have no temporal)",
        )


def read_reward_options(aim: RewardOptions) -> tuple[RewardSpec, ResizeDevice]:
    """Raises UsageError for an unknown option, axis or scale, or weights that say nothing."""
    if unknown := set(aim) - set(RewardOptions.__annotations__):
        raise UsageError(
            f"a reward has no option {', '.join(sorted(unknown))}",
            hint=f"A reward function takes {', '.join(RewardOptions.__annotations__)}.",
        )
    given: dict[str, Any] = {name: value for name, value in aim.items() if value is not None}
    scale, resize = given.get("scale", "mu"), given.get("resize", "cpu")
    check_choice(scale, RewardScale, "scale")
    check_choice(resize, ResizeDevice, "resize")
    if "axis" in given and "weights" in given:
        raise UsageError("a reward is one axis or weights of several, not both")
    weights = given.get("weights", {given.get("axis", "overall"): 1.0})
    return RewardSpec(_weights(weights), scale), resize


def _weights(given: Any) -> dict[str, float]:
    """Those that count; raises UsageError."""
    if not isinstance(given, Mapping) or not given:
        raise UsageError(
            f"weights are a mapping of axes to numbers, not {given!r}",
            hint='Write them like weights={"overall": 1, "alignment": 0.5}.',
        )
    for name, weight in given.items():
        if not isinstance(name, str) or not name:
            raise UsageError(f"an axis is a name, not {name!r}")
        if not isinstance(weight, Real) or not math.isfinite(weight):
            raise UsageError(f"the weight of {name} is no finite number: {weight!r}")
    kept = {name: float(weight) for name, weight in given.items() if weight}
    if not kept:
        raise UsageError(f"{given!r} gives every axis a weight of 0")
    return kept
