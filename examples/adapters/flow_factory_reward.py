"""LibreHPS as a reward model of Flow-Factory.

Copy this file to a folder of PYTHONPATH. In the configuration:
`rewards: [{name: librehps, reward_model: flow_factory_reward.LibreHPSReward, batch_size: 16}]`.
"""

import os
from typing import Any

import torch
from flow_factory.rewards.abc import PointwiseRewardModel, RewardModelOutput

from librehps.rewards import RewardClient, ddpo_reward


class LibreHPSReward(PointwiseRewardModel):  # type: ignore[misc]
    required_fields = ("prompt", "image")
    use_tensor_inputs = True

    def __init__(self, config: Any, accelerator: Any) -> None:
        super().__init__(config, accelerator)
        url = os.environ.get("LIBREHPS_URL", "http://127.0.0.1:8000")
        self.reward = ddpo_reward(RewardClient(url, os.environ.get("LIBREHPS_TOKEN")))()

    def __call__(self, prompt: list[str], image: Any = None, video: Any = None, **_: Any) -> Any:
        rewards, info = self.reward(image if video is None else video, prompt)
        return RewardModelOutput(torch.as_tensor(rewards, device=self.device), info)
