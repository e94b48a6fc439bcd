"""LibreHPS as a reward of Flow-GRPO, and of other trainers with a registry of DDPO's functions.

Copy this file to a folder of PYTHONPATH. In `flow_grpo/rewards.py`,
import `librehps_score` from it and add `"librehps": librehps_score` to the dict of `multi_score`.
Then: `config.reward_fn = {"librehps": 1.0}`. Images (N, 3, H, W) and clips (N, frames, 3, H, W).
"""

import os

from librehps.rewards import RewardClient, ddpo_reward

client = RewardClient(
    os.environ.get("LIBREHPS_URL", "http://127.0.0.1:8000"), os.environ.get("LIBREHPS_TOKEN")
)
librehps_score = ddpo_reward(client)
