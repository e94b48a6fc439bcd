"""Colours of explanations: red for what costs points, green for what earns them."""

import torch
import torch.nn.functional as F
from torch import Tensor

from librehps.explain.subject import NOISE_MU

# Both are told apart by people who see no red or no green: orange-red and blue-green differ in
# brightness and in blue.
COSTS, EARNS = (214, 69, 65), (23, 145, 135)
MAX_OPACITY = 0.75


def share(value: float, most: float) -> float:
    """Return the size of a value as a share of the largest, in [0, 1]."""
    return min(1.0, abs(value) / max(most, NOISE_MU))


def overlay(costs: Tensor, height: int, width: int) -> Tensor:
    """Return a map of costs (rows, columns) as (4, height, width) uint8 RGBA, smooth.

    The middles of the windows divide each side evenly; the windows at the edges reach the edges.
    """
    most = costs.abs().max().clamp(min=NOISE_MU)
    whole = F.pad((costs / most)[None, None].float(), (1, 1, 1, 1), mode="replicate")
    smooth = F.interpolate(whole, (height, width), mode="bilinear", align_corners=True)[0, 0]
    tones = torch.tensor([COSTS, EARNS], dtype=torch.float32)
    color = torch.where((smooth > 0)[None], tones[0, :, None, None], tones[1, :, None, None])
    opacity = smooth.abs() * MAX_OPACITY * 255
    return torch.cat([color, opacity[None]]).round().to(torch.uint8)
