"""Train a toy generator by GRPO, with the rewards of a server and no trainer's package.

    librehps serve --model tiny &
    python examples/grpo_toy.py --server http://127.0.0.1:8000 [--steps 50] [--seed 0]

The policy is normal around the knobs that the generator gives for a caption. Without --server the
model runs in this process. The token of the server is read from LIBREHPS_TOKEN.
"""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

import torch

from librehps import LibreHPS
from librehps.rewards import RewardClient, ddpo_reward

sys.path.insert(0, str(Path(__file__).parent / "tiny"))
from toy_generator import Generator, captions, draw, held_out, save

SPREAD, GROUP, GROUPS = 0.5, 8, 4


def train(model: Generator, reward: Any, steps: int, seed: int) -> None:
    """Make pictures likelier whose reward is above their group's: 8 for each of 4 captions."""
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    rng = torch.Generator().manual_seed(seed)
    for step in range(steps):
        asked = [c for c in captions(GROUPS, seed=1000 * seed + step) for _ in range(GROUP)]
        mean = model.knobs(asked, rng)
        taken = mean.detach() + SPREAD * torch.randn(mean.shape, generator=rng)
        found, _ = reward(draw(taken).clamp(0, 1), [c.text for c in asked], None)
        groups = found.view(GROUPS, GROUP)
        better = (groups - groups.mean(1, keepdim=True)) / (groups.std(1, keepdim=True) + 1e-4)
        likely = -((taken - mean) / SPREAD).square().sum(1) / 2
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
    reward, model = ddpo_reward(source)("cpu"), Generator(given.seed)
    shown = captions(6, seed=1_000_003)

    def report(name: str) -> None:
        mu = held_out(model, scorer)
        print(f"{name}: held-out mu", ", ".join(f"{axis} {at:.2f}" for axis, at in mu.items()))
        if given.save:
            save(model(shown, torch.Generator().manual_seed(0)), given.save / f"{name}.png")

    report("before")
    train(model, reward, given.steps, given.seed)
    report("after")


if __name__ == "__main__":
    main()
