"""Train a toy generator by GRPO, with the rewards of a server and no trainer's package.

    librehps serve --model tiny &
    python examples/grpo_toy.py --server http://127.0.0.1:8000 [--steps 50] [--seed 0]

The generator samples what is drawn. Without --server the model runs in this process. The token of
the server is read from LIBREHPS_TOKEN.
"""

import argparse
import os
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Categorical

from librehps import LibreHPS
from librehps.rewards import RewardClient, ddpo_reward

sys.path.insert(0, str(Path(__file__).parent / "tiny"))
import drawing
import scenes
from toy_generator import COLOURS, RELATIONS, SHAPES, SIDE, Generator, captions, pixels, report

GROUPS, GROUP = 4, 8


def sample(
    model: Generator, asked: Sequence[scenes.Caption], rng: random.Random
) -> tuple[Tensor, Tensor]:
    """Return sampled pictures (B, 3, SIDE, SIDE), and the log-probability of each (B,)."""
    policies = [Categorical(logits=logits) for logits in model(asked)]
    chosen = [policy.sample() for policy in policies]
    likely = [policy.log_prob(at) for policy, at in zip(policies, chosen, strict=True)]
    pictures = [render(one, rng) for one in torch.stack(chosen, 1).tolist()]
    return torch.stack(pictures), torch.stack(likely).sum(0)


def render(chosen: list[int], rng: random.Random) -> Tensor:
    """Return the picture of a colour and a shape of two things, and their relation."""
    a, b, c, d, relation = chosen
    names = (COLOURS[a], SHAPES[b]), (COLOURS[c], SHAPES[d])
    scene = scenes.compose(scenes.Caption(names, RELATIONS[relation]), rng)
    return pixels(drawing.draw(scene, SIDE))


def train(model: Generator, reward: Any, steps: int, rng: random.Random) -> None:
    """Make pictures likelier whose reward is above their group's: 8 for each of 4 captions."""
    optimizer = torch.optim.SGD(model.parameters(), lr=3.0)
    for _ in range(steps):
        asked = [caption for caption in captions(GROUPS, rng) for _ in range(GROUP)]
        pictures, likely = sample(model, asked, rng)
        rewards, _ = reward(pictures, [caption.text for caption in asked], None)
        groups = rewards.view(GROUPS, GROUP)
        better = (groups - groups.mean(1, keepdim=True)) / (groups.std(1, keepdim=True) + 1e-4)
        loss = -(better.flatten() * likely).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--server", help="URL of a `librehps serve`")
    parser.add_argument("--save", type=Path, help="folder for pictures before and after")
    given = parser.parse_args()
    scorer = LibreHPS.from_pretrained("tiny", dtype="float32")
    source: Any = scorer
    if given.server:
        source = RewardClient(given.server, os.environ.get("LIBREHPS_TOKEN"))
    reward = ddpo_reward(source, axis="alignment")("cpu")
    model, rng = Generator(), random.Random(given.seed)

    def draw(asked: Sequence[scenes.Caption], rng: random.Random) -> Tensor:
        return sample(model, asked, rng)[0]

    torch.manual_seed(given.seed)
    report("before", draw, scorer, given.save)
    train(model, reward, given.steps, rng)
    report("after", draw, scorer, given.save)


if __name__ == "__main__":
    main()
