"""A toy generator of pictures, which the examples of training start from, and its held-out score.

The generator reads a caption of two things, and gives the probabilities of their colours and
shapes, and of how they stand to each other. At first it half knows what the words mean.
"""

import random
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

import scenes
from librehps import BatchItem, LibreHPS

SIDE = 128
COLOURS, SHAPES, RELATIONS = [*scenes.COLOURS], [*scenes.SHAPES], [*scenes.RELATIONS]
# Words of a caption, each one of so many: colour and shape of two things, and their relation.
WORDS = [len(COLOURS), len(SHAPES)] * 2 + [len(RELATIONS)]


def captions(count: int, rng: random.Random, unseen: bool = False) -> list[scenes.Caption]:
    """Return captions of two things; `unseen`: with a combination that no other caption has."""
    found: list[scenes.Caption] = []
    while len(found) < count:
        caption = scenes.random_caption(rng, unseen)
        if caption.relation:
            found.append(caption)
    return found


class Generator(nn.Module):
    """A linear layer from the words of captions to logits of what is drawn, one of WORDS each."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(sum(WORDS), sum(WORDS))
        nn.init.eye_(self.layer.weight)
        nn.init.zeros_(self.layer.bias)

    def forward(self, asked: Sequence[scenes.Caption]) -> tuple[Tensor, ...]:
        """Return the logits of a caption's words, (B, n) for each n of WORDS."""
        words = torch.zeros(len(asked), sum(WORDS))
        for row, caption in zip(words, asked, strict=True):
            (a, b), (c, d) = caption.names
            things = COLOURS.index(a), SHAPES.index(b), COLOURS.index(c), SHAPES.index(d)
            named = *things, RELATIONS.index(str(caption.relation))
            for part, at in zip(torch.split(row, WORDS), named, strict=True):
                part[at] = 1
        logits: Tensor = self.layer(words)
        return torch.split(logits, WORDS, 1)


def pixels(picture: Image.Image) -> Tensor:
    """Return a picture as (3, H, W) floats in [0, 1]."""
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1) / 255


def report(
    name: str,
    draw: Callable[[Sequence[scenes.Caption], random.Random], Tensor],
    scorer: LibreHPS,
    folder: Path | None,
) -> None:
    """Print the mean mu of 64 captions with unseen combinations; save 6 pictures in the folder."""
    asked = captions(64, random.Random(-1), unseen=True)
    with torch.no_grad():
        pictures = draw(asked, random.Random(0))
    items = [BatchItem(p, caption.text) for p, caption in zip(pictures, asked, strict=True)]
    scores = [score.axes for score in scorer.score_images_batch(items)]
    means = {axis: sum(s[axis].raw_mean for s in scores) / len(scores) for axis in scores[0]}
    print(f"{name}: held-out mu", ", ".join(f"{axis} {mu:.2f}" for axis, mu in means.items()))
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
        row = (torch.cat([*pictures[:6]], 2) * 255).round().to(torch.uint8)
        Image.fromarray(row.permute(1, 2, 0).numpy()).save(folder / f"{name}.png")
        (folder / "captions.txt").write_text("\n".join(c.text for c in asked[:6]))
