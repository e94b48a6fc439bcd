"""Rewards for training: adapters for RL trainers, a client of the reward server, and gradients.

Heavy packages are imported only when a model is loaded or an image is read, or with
`DifferentiableReward`, which is a torch module.
"""

from typing import TYPE_CHECKING, Any

from librehps.decide.reward_spec import RewardOptions
from librehps.rewards.client import AsyncRewardClient, RewardClient
from librehps.rewards.ddpo import ddpo_reward
from librehps.rewards.trl import trl_reward

if TYPE_CHECKING:
    from librehps.gradients.reward import DifferentiableReward

__all__ = [
    "AsyncRewardClient",
    "DifferentiableReward",
    "RewardClient",
    "RewardOptions",
    "ddpo_reward",
    "trl_reward",
]


def __getattr__(name: str) -> Any:
    if name == "DifferentiableReward":
        from librehps.gradients.reward import DifferentiableReward

        return DifferentiableReward
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
