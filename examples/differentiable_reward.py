"""Train a toy generator by the gradient of a reward, as ReFL and DRaFT do.

    python examples/differentiable_reward.py [--steps 50] [--seed 0] [--save FOLDER]

Colours, shapes and places are mixed by their probabilities, so that pictures have a gradient. The
reward is LibreHPS-Tiny's, overall and alignment.
"""

import argparse
import random
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from librehps import LibreHPS
from librehps.rewards import DifferentiableReward

sys.path.insert(0, str(Path(__file__).parent / "tiny"))
import drawing
import scenes
from toy_generator import COLOURS, RELATIONS, SHAPES, SIDE, Generator, captions, pixels, report

RGB = torch.tensor([scenes.COLOURS[colour] for colour in COLOURS]) / 255
# Where the first thing is if the second is opposite to it, and the radius of both.
PLACES = {
    "left of": (0.27, 0.5),
    "right of": (0.73, 0.5),
    "above": (0.5, 0.27),
    "below": (0.5, 0.73),
}
RADIUS = 0.16


def mask(shape: str, x: float, y: float) -> Tensor:
    """Return how much a shape at a place covers each pixel, (SIDE, SIDE) in [0, 1]."""
    thing = scenes.Thing(shape, "white", x, y, RADIUS, shade=(10, 10, 10))
    black = (0, 0, 0)
    return pixels(drawing.draw(scenes.Scene((thing,), (black, black)), SIDE))[0]


class SoftDrawing:
    """A renderer of probabilities, by the masks of all shapes in all places."""

    def __init__(self) -> None:
        first = [PLACES[relation] for relation in RELATIONS]
        second = [(1 - x, 1 - y) for x, y in first]
        masks = [mask(shape, *at) for at in (*first, *second) for shape in SHAPES]
        self.masks = torch.stack(masks).view(2, len(RELATIONS), len(SHAPES), SIDE, SIDE)

    def __call__(
        self, model: Generator, asked: Sequence[scenes.Caption], rng: random.Random
    ) -> Tensor:
        """Return the pictures (B, 3, SIDE, SIDE), each on a ground of its own."""
        grounds = [replace(scenes.compose(caption, rng), things=()) for caption in asked]
        pictures = torch.stack([pixels(drawing.draw(ground, SIDE)) for ground in grounds])
        *things, relation = (logits.softmax(1) for logits in model(asked))
        for masks, colour, shape in zip(self.masks, things[::2], things[1::2], strict=True):
            cover = torch.einsum("br,bs,rshw->bhw", relation, shape, masks)[:, None]
            pictures = pictures * (1 - cover) + (colour @ RGB)[:, :, None, None] * cover
        return pictures


def train(
    model: Generator, reward: DifferentiableReward, draw: SoftDrawing, steps: int, seed: int
) -> None:
    """Raise the reward of the pictures of 8 captions a step."""
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    rng = random.Random(seed)
    for _ in range(steps):
        asked = captions(8, rng)
        pictures = draw(model, asked, rng)
        loss = -reward(pictures, [caption.text for caption in asked]).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save", type=Path, help="folder for pictures before and after")
    given = parser.parse_args()
    scorer = LibreHPS.from_pretrained("tiny", dtype="float32")
    reward = DifferentiableReward(scorer, weights={"overall": 1, "alignment": 1})
    model, draw = Generator(), SoftDrawing()
    report("before", lambda *asked: draw(model, *asked), scorer, given.save)
    train(model, reward, draw, given.steps, given.seed)
    report("after", lambda *asked: draw(model, *asked), scorer, given.save)


if __name__ == "__main__":
    main()
