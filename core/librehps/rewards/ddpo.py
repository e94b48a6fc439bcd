"""Reward functions as DDPO and Flow-GRPO call them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from librehps.choices import MissingReward, ResizeDevice, check_choice
from librehps.errors import NothingScoredError, UsageError
from librehps.rewards.client import RewardClient
from librehps.rewards.pictures import check_range, item_of
from librehps.rewards.reward_spec import (
    SUFFIX,
    RewardOptions,
    RewardSpec,
    read_reward_options,
)
from librehps.rewards.rows import Rewarder, Row, rows_by
from librehps.scores.columns import axes_in_rows

if TYPE_CHECKING:
    import torch

    from librehps.scorer import LibreHPS

Info = dict[str, Any]


def ddpo_reward(
    model: "LibreHPS | RewardClient | str | Path",
    *,
    missing: MissingReward = "mean",
    **aim: Unpack[RewardOptions],
) -> "DDPOFactory":
    """`factory(device)`, which gives `f(images, prompts, metadata) -> (scores, info)`.

    A model that is named is loaded on `device`; one that is loaded stays where it is, and cannot be
    pickled: across processes use a `RewardClient`, which takes clips as files only. These trainers
    know no missing reward: what cannot be scored gets, with missing="mean", the mean of its
    prompt's others in the batch of this process, else of that batch. That may still push, since
    other processes and prompts have other means. Better mask by info["scored"], with "nan" so that
    none is forgotten: one NaN spoils the weights. Of `aim` see `RewardOptions`.
    """
    check_choice(missing, MissingReward, "missing")
    return DDPOFactory(model, *read_reward_options(aim), missing)


@dataclass(frozen=True)
class DDPOFactory:
    """Makes the reward function on a device; see `ddpo_reward`."""

    model: "LibreHPS | RewardClient | str | Path"
    goal: RewardSpec
    resize: ResizeDevice
    missing: MissingReward

    def __call__(self, device: "str | torch.device | None" = None) -> "DDPOReward":
        to_rows = rows_by(self.model, self.resize, device)
        return DDPOReward(Rewarder(to_rows, self.goal), self.missing)


@dataclass(frozen=True)
class DDPOReward:
    """Callable as DDPO and Flow-GRPO do it; see `ddpo_reward`."""

    rewarder: Rewarder
    missing: MissingReward = "mean"

    def __call__(
        self, images: Any, prompts: Sequence[str], metadata: Any = None
    ) -> tuple[Any, Info]:
        """(scores, info) of images (N, 3, H, W), float in [0, 1] or uint8, or arrays (N, H, W, 3).

        One dimension more holds clips: (N, frames, ...); one frame is a still. Scores are float32
        (N,): a tensor on the device of the images where these are a tensor, else an array. info
        has, as arrays (N,), `scored` and each axis, NaN where there is none. Raises
        NothingScoredError where none could be scored, unless NaN was asked for, and UsageError
        where pixels leave [0, 1].
        """
        import numpy as np
        import torch

        if len(images) != len(prompts):
            raise UsageError(f"{len(images)} images for {len(prompts)} prompts")
        items = [item_of(i, *pair) for i, pair in enumerate(zip(images, prompts, strict=True))]
        check_range(items)
        rewards, rows = self.rewarder.rewards(items)
        scored = np.array([reward is not None for reward in rewards], dtype=bool)
        values = np.array([np.nan if r is None else r for r in rewards], dtype=np.float32)
        if self.missing == "mean" and not scored.all():
            values = _filled(values, scored, prompts)
        info = {"scored": scored, **_axes(rows, SUFFIX[self.rewarder.goal.scale])}
        if isinstance(images, torch.Tensor):
            return torch.from_numpy(values).to(images.device), info
        return values, info


def _filled(values: Any, scored: Any, prompts: Sequence[str]) -> Any:
    """The values with those that are not scored replaced by a mean of those that are."""
    import numpy as np

    if not scored.any():
        raise NothingScoredError(
            f"none of {len(values)} images could be scored", hint="The log says why."
        )
    filled, named = values.copy(), np.array([str(prompt) for prompt in prompts])
    for at in np.flatnonzero(~scored):
        others = scored & (named == named[at])
        filled[at] = values[others if others.any() else scored].mean()
    return filled


def _axes(rows: list[Row], suffix: str) -> Info:
    """Each axis that some row has, (N,) float32."""
    import numpy as np

    columns = {axis: [row.get(f"{axis}{suffix}") for row in rows] for axis in axes_in_rows(rows)}
    return {
        f"{axis}{suffix}": np.array([np.nan if v is None else v for v in found], dtype=np.float32)
        for axis, found in columns.items()
        if any(value is not None for value in found)
    }
