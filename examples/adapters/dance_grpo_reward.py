"""LibreHPS in a loop like DanceGRPO's, which scores its samples one at a time as it makes them.

In `sample_reference_model`, in place of the branch `if args.use_hpsv2`:
`all_rewards.append(librehps_reward(decoded_image, batch_caption, device))`. For videos, pass the
paths of the files that the loop has written.
"""

import os
from typing import Any

import torch

from librehps.rewards import RewardClient, ddpo_reward

client = RewardClient(
    os.environ.get("LIBREHPS_URL", "http://127.0.0.1:8000"), os.environ.get("LIBREHPS_TOKEN")
)
reward = ddpo_reward(client)()


def librehps_reward(images: Any, prompts: list[str], device: Any = None) -> torch.Tensor:
    return torch.as_tensor(reward(images, prompts)[0], device=device)
