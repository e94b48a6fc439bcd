"""The method of `LibreHPS` that gives the gradient of a reward."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from librehps.choices import RewardScale
from librehps.gradients.source import GradientSource

if TYPE_CHECKING:
    from torch import Tensor


class GradientMethods(GradientSource):
    """The method `reward_gradient` of a loaded model."""

    def reward_gradient(
        self,
        images: "Tensor | Sequence[Tensor]",
        prompts: Sequence[str],
        axis: str | None = None,
        *,
        weights: Mapping[str, float] | None = None,
        scale: RewardScale = "mu",
        checkpointing: bool = False,
        batch_size: int | None = None,
    ) -> "tuple[Tensor, Tensor | list[Tensor]]":
        """Return (rewards (B,), gradients like the images) of float pixels in [0, 1].

        images, axis, weights, scale, checkpointing: see `librehps.rewards.DifferentiableReward`,
        the module for trainers. batch_size: images whose graph is held at a time (None: the
        model's). Raises UsageError and PromptError.
        """
        from librehps.gradients.reward import DifferentiableReward, reward_and_gradient

        reward = DifferentiableReward(
            self, axis=axis, weights=weights, scale=scale, checkpointing=checkpointing
        )
        size = self.batch_size if batch_size is None else batch_size
        return reward_and_gradient(reward, images, prompts, size)
