"""A toy generator of pictures, for the examples of training: it draws coloured shapes that blur.

A small network reads a caption and noise, and gives each of two shapes a colour, a place, a size
and a form; they are drawn by smooth functions, so that a picture has a gradient in all of them.
"""

import random
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn

import scenes
from librehps import BatchItem, LibreHPS

SIDE, NOISE, SOFTNESS = 128, 8, 0.012
COLOURS, SHAPES = [*scenes.COLOURS], [*scenes.SHAPES]
# Two shapes: presence, x, y, size, three colours, a form; and the ground's grey.
OF_SHAPE = 7 + len(SHAPES)
KNOBS = 2 * OF_SHAPE + 1


def captions(count: int, seed: int) -> list[scenes.Caption]:
    """Return captions with one or two shapes; training and held-out captions differ by seed."""
    rng = random.Random(seed)
    return [scenes.random_caption(rng) for _ in range(count)]


def words(caption: scenes.Caption) -> Tensor:
    """Return which colour, shape and relation a caption names, as zeros and ones."""
    found = torch.zeros(2, len(COLOURS) + len(SHAPES))
    for row, (colour, shape) in zip(found, caption.names, strict=False):
        row[COLOURS.index(colour)] = row[len(COLOURS) + SHAPES.index(shape)] = 1
    relation = torch.tensor([float(name == caption.relation) for name in scenes.RELATIONS])
    return torch.cat([found.flatten(), relation])


class Generator(nn.Module):
    """A generator of pictures (B, 3, SIDE, SIDE) in [0, 1]."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        inputs = 2 * (len(COLOURS) + len(SHAPES)) + len(scenes.RELATIONS) + NOISE
        self.layers = nn.Sequential(
            nn.Linear(inputs, 128), nn.SiLU(), nn.Linear(128, 128), nn.SiLU(), nn.Linear(128, KNOBS)
        )

    def knobs(self, asked: Sequence[scenes.Caption], rng: torch.Generator) -> Tensor:
        """Return what is drawn for each caption, (B, KNOBS), unbounded."""
        noise = torch.randn(len(asked), NOISE, generator=rng)
        found: Tensor = self.layers(torch.cat([torch.stack(list(map(words, asked))), noise], 1))
        return found

    def forward(self, asked: Sequence[scenes.Caption], rng: torch.Generator) -> Tensor:
        return draw(self.knobs(asked, rng))


def draw(knobs: Tensor) -> Tensor:
    """Return the pictures of knobs (B, KNOBS), differentiable in each knob."""
    line = (torch.arange(SIDE) + 0.5) / SIDE
    y, x = line[:, None], line[None, :]
    picture = (0.2 + 0.6 * knobs[:, -1:].sigmoid())[:, :, None, None].expand(-1, 3, SIDE, SIDE)
    for at in range(2):
        part = knobs[:, at * OF_SHAPE : (at + 1) * OF_SHAPE, None, None]
        there, across, down, size = (part[:, i] for i in range(4))
        size = 0.12 + 0.14 * size.sigmoid()
        u = (x - 0.15 - 0.7 * across.sigmoid()) / size
        v = (y - 0.15 - 0.7 * down.sigmoid()) / size
        forms = torch.stack(_distances(u, v), 1)
        inside = (-forms * size[:, None] / SOFTNESS).sigmoid()
        form = (inside * part[:, 7:].softmax(1)).sum(1)
        cover = (form * (there + 1).sigmoid())[:, None]
        picture = picture * (1 - cover) + part[:, 4:7].sigmoid() * cover
    return picture


def _distances(u: Tensor, v: Tensor) -> list[Tensor]:
    """Return how far a point is outside of each of SHAPES, of radius 1; negative inside."""
    radius = (u.square() + v.square() + 1e-6).sqrt()
    angle = torch.atan2(u, -v)
    square = torch.maximum(u.abs(), v.abs()) - 0.85
    triangle = torch.maximum(v - 0.6, 0.87 * u.abs() - 0.5 * v - 0.6)
    star = radius - 0.8 - 0.3 * torch.cos(5 * angle)
    cross = torch.minimum(
        torch.maximum(u.abs() - 1.1, v.abs() - 0.4), torch.maximum(u.abs() - 0.4, v.abs() - 1.1)
    )
    return [radius - 1, square, triangle, star, cross]


def held_out(model: Generator, scorer: LibreHPS, count: int = 48) -> dict[str, float]:
    """Return the mean mu on each axis of pictures for captions that no training step sees."""
    asked = captions(count, seed=1_000_003)
    with torch.no_grad():
        pictures = model(asked, torch.Generator().manual_seed(0))
    items = [BatchItem(p, caption.text) for p, caption in zip(pictures, asked, strict=True)]
    scores = [score.axes for score in scorer.score_images_batch(items)]
    return {axis: sum(s[axis].raw_mean for s in scores) / count for axis in scores[0]}


def save(pictures: Tensor, file: Path) -> None:
    """Save the pictures side by side."""
    row = (torch.cat(list(pictures.detach()), 2) * 255).round().to(torch.uint8)
    Image.fromarray(row.permute(1, 2, 0).numpy()).save(file)
