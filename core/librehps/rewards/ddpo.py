"""Reward functions for DDPO and Flow-GRPO."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType
from typing import TYPE_CHECKING, Any, Unpack

from librehps.choices import MissingReward, ResizeDevice, check_choice
from librehps.decide.reward_spec import (
    COLUMN_SUFFIX,
    RewardOptions,
    RewardSpec,
    read_reward_options,
)
from librehps.errors import NothingScoredError
from librehps.rewards.client import RewardClient
from librehps.rewards.pictures import check_batch, check_lengths, check_range, item_of
from librehps.rewards.rows import Rewarder, Row, rows_by
from librehps.scores.columns import axes_in_rows

if TYPE_CHECKING:
    from librehps.models.device_list import DeviceRequest
    from librehps.scorer import LibreHPS

Info = dict[str, Any]


def ddpo_reward(
    model: "LibreHPS | RewardClient | str | Path",
    *,
    missing: MissingReward = "mean",
    frames: bool = False,
    **options: Unpack[RewardOptions],
) -> "DDPOFactory":
    """Return `factory(device)`, which returns `f(images, prompts, metadata) -> (scores, info)`.

    A model's name is loaded on `device`; a loaded model stays on its own device and cannot be
    pickled: across processes use a `RewardClient`. These trainers have no missing reward. With
    missing="mean", a sample without a score gets the mean reward of its prompt's other samples in
    this process' batch, or else of the whole batch; this mean may still bias training, since means
    differ between processes and prompts. It is better to mask by info["scored"] with missing="nan":
    a forgotten mask then shows, since one NaN spoils the weights. `frames`: whether a list of
    images in one sample is a clip; otherwise such a sample has no score. For `options` see
    `RewardOptions`.
    """
    check_choice(missing, MissingReward, "missing")
    return DDPOFactory(model, *read_reward_options(options), missing, frames)


@dataclass(frozen=True)
class DDPOFactory:
    """A factory of reward functions, one per device; see `ddpo_reward`."""

    model: "LibreHPS | RewardClient | str | Path"
    spec: RewardSpec
    resize: ResizeDevice
    missing: MissingReward
    frames: bool = False

    def __call__(self, device: "DeviceRequest" = None) -> "DDPOReward":
        to_rows = rows_by(self.model, self.resize, device)
        return DDPOReward(Rewarder(to_rows, self.spec), self.missing, self.frames)

    @property
    def __code__(self) -> CodeType:
        """The code of a call: Flow-GRPO passes the device if the code's names include `device`."""
        return type(self).__call__.__code__


@dataclass(frozen=True)
class DDPOReward:
    """A reward function that DDPO and Flow-GRPO can call; see `ddpo_reward`."""

    rewarder: Rewarder
    missing: MissingReward = "mean"
    frames: bool = False

    def __call__(
        self, images: Any, prompts: Sequence[str], metadata: Any = None
    ) -> tuple[Any, Info]:
        """Return (scores, info) of images (N, 3, H, W), float in [0, 1] or uint8.

        Accepted too: (N, H, W, 3); clips, with one dimension more, (N, frames, ...), a single frame
        being an image; and a list of anything that `score_image` takes. Scores are float32 (N,): a
        tensor on the images' device if the images are a tensor, else an array. info has arrays
        (N,): `scored`, and each axis, NaN without a score. Raises NothingScoredError if no image
        has a score, unless missing="nan", and UsageError for pixels outside [0, 1].
        """
        import numpy as np
        import torch

        check_batch(images)
        check_lengths(images=images, prompts=prompts)
        pairs = enumerate(zip(images, prompts, strict=True))
        items = [item_of(i, *pair, frames=self.frames) for i, pair in pairs]
        check_range(items)
        rewards, rows = self.rewarder.rewards(items)
        scored = np.array([reward is not None for reward in rewards], dtype=bool)
        values = np.array([np.nan if r is None else r for r in rewards], dtype=np.float32)
        if self.missing == "mean" and not scored.all():
            values = _filled(values, scored, prompts)
        info = {"scored": scored, **_axes(rows, COLUMN_SUFFIX[self.rewarder.spec.scale])}
        if isinstance(images, torch.Tensor):
            return torch.from_numpy(values).to(images.device), info
        return values, info


def _filled(values: Any, scored: Any, prompts: Sequence[str]) -> Any:
    """Return the values with missing scores replaced by a mean of the others."""
    import numpy as np

    if not scored.any():
        raise NothingScoredError(
            f"none of {len(values)} images could be scored", hint="See the log for the errors."
        )
    filled, named = values.copy(), np.array([str(prompt) for prompt in prompts])
    for at in np.flatnonzero(~scored):
        others = scored & (named == named[at])
        filled[at] = values[others if others.any() else scored].mean()
    return filled


def _axes(rows: list[Row], suffix: str) -> Info:
    """Return each axis that some row has, as float32 (N,), NaN without a score."""
    import numpy as np

    columns = {axis: [row.get(f"{axis}{suffix}") for row in rows] for axis in axes_in_rows(rows)}
    return {
        f"{axis}{suffix}": np.array([np.nan if v is None else v for v in found], dtype=np.float32)
        for axis, found in columns.items()
        if any(value is not None for value in found)
    }
