"""Rewards for training: adapters for RL trainers, and a client of the reward server.

Nothing heavy is imported before a model is loaded or a picture looked at.
"""

from librehps.rewards.client import RewardClient
from librehps.rewards.ddpo import ddpo_reward
from librehps.rewards.reward_spec import RewardOptions
from librehps.rewards.trl import trl_reward

__all__ = ["RewardClient", "RewardOptions", "ddpo_reward", "trl_reward"]
