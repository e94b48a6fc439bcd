"""Rotary positions of the text model: MRoPE, its three axes interleaved."""

import torch
from torch import Tensor

from librehps.models.librehps.config import Rope

# (cos, sin), each (batch, length, rotary dim / 2).
Rotary = tuple[Tensor, Tensor]


def frequencies(theta: float, dim: int, device: torch.device) -> Tensor:
    """Return the angle per position of each pair of values, (dim / 2,) float32.

    Computed for each forward, since buffers would be lost on the meta device.
    """
    steps = torch.arange(0, dim, 2, dtype=torch.float32, device=device)
    return 1.0 / theta ** (steps / dim)


def text_rotary(positions: Tensor, rope: Rope, dim: int, dtype: torch.dtype) -> Rotary:
    """Return the rotary values of (3, batch, length) positions: time, row and column.

    Pairs 1, 4, 7, ... follow the row and 2, 5, 8, ... the column, as many as their sections have.
    """
    turns = frequencies(rope.theta, dim, positions.device)
    angles = positions[0, ..., None].float() * turns
    for axis in (1, 2):
        pairs = slice(axis, 3 * rope.sections[axis], 3)
        angles[..., pairs] = positions[axis, ..., None].float() * turns[pairs]
    return angles.cos().to(dtype), angles.sin().to(dtype)


def rotate_text(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Return x (batch, heads, length, d) with its first values rotated, the others unchanged."""
    cos, sin = cos.unsqueeze(1), sin.unsqueeze(1)
    half = cos.shape[-1]
    one, two, rest = x.split([half, half, x.shape[-1] - 2 * half], -1)
    return torch.cat([one * cos - two * sin, two * cos + one * sin, rest], -1)
