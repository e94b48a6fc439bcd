"""LibreHPS as a reward of verl-omni, which asks for one sample a call, from many threads.

In the configuration, `reward.custom_reward_function`: `path: verl_omni_reward.py`, and
`name: compute_score`. The prompt is the `ground_truth` of the dataset. The server makes batches of
the calls.
"""

import os
from typing import Any

from librehps.rewards import RewardClient, trl_reward

# The reward of a sample that cannot be scored: verl has none. `scored` is in the logs.
UNSCORED = -10.0

client = RewardClient(
    os.environ.get("LIBREHPS_URL", "http://127.0.0.1:8000"), os.environ.get("LIBREHPS_TOKEN")
)
reward = trl_reward(client)


def compute_score(
    data_source: str, solution_image: Any, ground_truth: str, extra_info: Any = None, **_: Any
) -> dict[str, float]:
    [found] = reward(prompts=[ground_truth], completions=[solution_image])
    return {"score": UNSCORED if found is None else found, "scored": float(found is not None)}
