"""Rewards for training: adapters for RL trainers, and a client of the reward server.

Heavy packages are imported only when a model is loaded or an image is read.
"""

from librehps.decide.reward_spec import RewardOptions
from librehps.rewards.client import AsyncRewardClient, RewardClient
from librehps.rewards.ddpo import ddpo_reward
from librehps.rewards.trl import trl_reward

__all__ = ["AsyncRewardClient", "RewardClient", "RewardOptions", "ddpo_reward", "trl_reward"]
