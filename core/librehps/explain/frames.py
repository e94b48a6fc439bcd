"""Effects of the frames of a clip on a score."""

from dataclasses import asdict, dataclass
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from librehps.errors import UnsupportedMediaError
from librehps.explain.subject import NOISE_MU, Subject


@dataclass(frozen=True)
class FrameEffect:
    """The cost of a frame in mu: the score with the frame replaced by neighbours, minus the score.

    index: the frame's number in the clip; above 0 if the clip would score more without the frame.
    """

    index: int
    cost: float


@dataclass(frozen=True)
class FrameEffects:
    """Effects of the sampled frames of a clip on `axis`, whose score is `mu`."""

    axis: str
    mu: float
    frames: tuple[FrameEffect, ...]

    @property
    def has_costs(self) -> bool:
        """True if a frame costs points."""
        return max(frame.cost for frame in self.frames) > NOISE_MU

    @property
    def peak(self) -> int:
        """The number of the frame that costs most."""
        return max(self.frames, key=lambda frame: frame.cost).index

    def record(self) -> dict[str, Any]:
        """Return the effects as a dict with stable names."""
        frames = [asdict(frame) for frame in self.frames]
        return {"axis": self.axis, "mu": self.mu, "peak": self.peak, "frames": frames}


def explain_frames(subject: Subject, axis: str) -> FrameEffects:
    """Return the effects of the subject's frames; raises UnsupportedMediaError for one frame."""
    at, pixels = subject.axis(axis), subject.pixels
    if len(pixels) < 2:
        raise UnsupportedMediaError("expected a clip of two or more frames to explain, got one")
    variants = (replaced(pixels, index) for index in range(len(pixels)))
    scores = subject.with_pixels(chain([pixels], variants))
    costs = [score.mu[at] - scores[0].mu[at] for score in scores[1:]]
    indices = subject.decoded.frames or range(len(pixels))
    frames = tuple(FrameEffect(*pair) for pair in zip(indices, costs, strict=False))
    return FrameEffects(axis, scores[0].mu[at], frames)


def replaced(pixels: Tensor, index: int) -> Tensor:
    """Return the frames with one replaced by the mean of its neighbours."""
    near = [i for i in (index - 1, index + 1) if 0 <= i < len(pixels)]
    mean = pixels[near].float().mean(0).round().to(torch.uint8)
    return torch.cat([pixels[:index], mean[None], pixels[index + 1 :]])
