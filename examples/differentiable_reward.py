"""Train a toy generator by the gradient of a reward, as ReFL and DRaFT do.

    python examples/differentiable_reward.py [--steps 50] [--seed 0] [--save FOLDER]

The reward is LibreHPS-Tiny's; its gradient reaches the generator through the pixels.
"""

import argparse
import sys
from pathlib import Path

import torch

from librehps import LibreHPS
from librehps.rewards import DifferentiableReward

sys.path.insert(0, str(Path(__file__).parent / "tiny"))
from toy_generator import Generator, captions, held_out, save


def train(model: Generator, reward: DifferentiableReward, steps: int, seed: int) -> None:
    """Raise the reward of the pictures of 8 captions a step."""
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-2)
    rng = torch.Generator().manual_seed(seed)
    for step in range(steps):
        asked = captions(8, seed=1000 * seed + step)
        loss = -reward(model(asked, rng), [caption.text for caption in asked]).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--axis", default="overall")
    parser.add_argument("--save", type=Path, help="folder for pictures before and after")
    given = parser.parse_args()
    scorer = LibreHPS.from_pretrained("tiny", dtype="float32")
    reward, model = DifferentiableReward(scorer, axis=given.axis), Generator(given.seed)
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
