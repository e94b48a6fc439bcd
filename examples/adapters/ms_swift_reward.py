"""LibreHPS as a reward of ms-swift, for a policy whose text is rendered to an image.

`swift rlhf --rlhf_type grpo --external_plugins ms_swift_reward.py --reward_funcs librehps ...`.
Replace `draw` with your renderer. The prompt is the last user message.
"""

import os
from typing import Any

from PIL import Image
from swift.rewards import ORM, orms

from librehps.rewards import RewardClient, trl_reward


def draw(completion: str, **row: Any) -> Image.Image:
    return Image.new("RGB", (128, 128), completion)


class LibreHPS(ORM):  # type: ignore[misc]
    def __init__(self, args: Any = None, **_: Any) -> None:
        super().__init__(args)
        url = os.environ.get("LIBREHPS_URL", "http://127.0.0.1:8000")
        client = RewardClient(url, os.environ.get("LIBREHPS_TOKEN"))
        self.reward = trl_reward(client, to_image=draw, unrendered=-10.0)

    def __call__(self, completions: list[str], **columns: Any) -> list[float | None]:
        return self.reward(completions, **columns)


orms["librehps"] = LibreHPS
