"""Patch positions: learned embeddings, rotary angles, and sequence lengths for attention.

Computed on the CPU from grids of Python integers, so that no forward waits for its device.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from librehps.models.device import moved
from librehps.models.vision import block_coordinates

Grid = tuple[int, int, int]


@dataclass(frozen=True)
class PatchPositions:
    """The positions of P patches, ordered by time step and merge block.

    corners (P, 4) rows in the table of learned positions, weights (P, 4) of the corners;
    coordinates (P, 2) row and column; lengths of the steps, cu_seqlens (steps + 1,) their ends.
    """

    corners: Tensor
    weights: Tensor
    coordinates: Tensor
    cu_seqlens: Tensor
    lengths: tuple[int, ...]


def patch_positions(
    grids: Sequence[Grid], side: int, merge: int, device: torch.device
) -> PatchPositions:
    """Return the positions in grids of (time steps, rows, columns), for a side x side table."""
    steps = [(rows, columns) for count, rows, columns in grids for _ in range(count)]
    parts = [_still(rows, columns, side, merge) for rows, columns in steps]
    corners, weights, coordinates = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
    lengths = tuple(rows * columns for rows, columns in steps)
    ends = torch.tensor([0, *lengths]).cumsum(0, dtype=torch.int32)
    return PatchPositions(
        moved(corners, device),
        moved(weights, device),
        moved(coordinates, device),
        moved(ends, device),
        lengths,
    )


def axial_rotary(coordinates: Tensor, frequencies: Tensor) -> tuple[Tensor, Tensor]:
    """Return (cos, sin), (P, head dim) float32: each half has row angles, then column angles."""
    angles = (coordinates[..., None].float() * frequencies.float()).flatten(1)
    doubled = torch.cat([angles, angles], -1)
    return doubled.cos(), doubled.sin()


@lru_cache(maxsize=512)
def _still(rows: int, columns: int, side: int, merge: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return corners, weights and coordinates of one time step, for bilinear interpolation."""
    coordinates = block_coordinates(rows, columns, merge)
    y, x = (
        torch.linspace(0, side - 1, count)[coordinates[:, axis]]
        for axis, count in enumerate((rows, columns))
    )
    top, left = y.long(), x.long()
    bottom, right = (top + 1).clamp(max=side - 1), (left + 1).clamp(max=side - 1)
    dy, dx = y - top, x - left
    corners = torch.stack(
        [top * side + left, top * side + right, bottom * side + left, bottom * side + right], 1
    )
    weights = torch.stack([(1 - dy) * (1 - dx), (1 - dy) * dx, dy * (1 - dx), dy * dx], 1)
    return corners, weights, coordinates
