"""Which number of a scored row is the reward."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypedDict

from librehps.errors import UsageError

Scale = Literal["mu", "mean"]
Resize = Literal["cpu", "device"]
SUFFIX: dict[Scale, str] = {"mu": "_mu", "mean": ""}


class Aim(TypedDict, total=False):
    """What every reward function can be told.

    axis ("overall"), or weights of several, which are added up; scale: "mu", unbounded (the
    default), or "mean", in [0, 1], which saturates. resize: "cpu", the exact scores of
    `score_image`, or "device", where tensors stay on the model's device and are resized there, as
    floats. On the CPU, where it can be measured, mu then differs by 0.06 at most (medians of
    0.0003 to 0.0026, by the size of the pictures) on 1,200 rendered scenes with LibreHPS-Tiny,
    whose mu has a standard deviation of 3, and by 0.05 at most (median 0.004) on the golden
    checkpoint and media.
    """

    axis: str
    weights: Mapping[str, float]
    scale: Scale
    resize: Resize


@dataclass(frozen=True)
class Goal:
    """Weight of each axis that counts, and on which scale they are added up."""

    weights: Mapping[str, float]
    scale: Scale = "mu"

    @property
    def name(self) -> str:
        """`overall` or another axis that counts alone, else `mix`."""
        [*names] = self.weights
        return names[0] if len(names) == 1 else "mix"

    def reward(self, row: Mapping[str, Any]) -> float | None:
        """The weighted sum of a scored row; None where an axis that counts has no finite value."""
        total = 0.0
        for name, weight in self.weights.items():
            value = row.get(f"{name}{SUFFIX[self.scale]}")
            if value is None or not math.isfinite(value):
                return None
            total += weight * value
        return total

    def why_not(self, row: Mapping[str, Any]) -> tuple[str, str]:
        """(kind, reason) that a row has no reward."""
        if row.get("status") != "ok":
            return str(row.get("error_type")), str(row.get("error"))
        axes = ", ".join(self.weights)
        return "NoValue", f"a row has no finite value on every one of {axes} (stills: no temporal)"


def goal_of(aim: Aim) -> Goal:
    """Raises UsageError for an unknown axis or scale, or weights that say nothing."""
    from librehps.decide.mix import parse_mix

    scale = aim.get("scale", "mu")
    if scale not in SUFFIX:
        raise UsageError(f"unknown scale {scale!r}: mu or mean")
    if "axis" in aim and "weights" in aim:
        raise UsageError("a reward is one axis or weights of several, not both")
    weights = aim.get("weights", {aim.get("axis", "overall"): 1.0})
    mix = parse_mix(",".join(f"{name}={weight}" for name, weight in weights.items()))
    return Goal(mix.weights, scale)
