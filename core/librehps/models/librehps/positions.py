"""Where each patch stands: learned positions, rotary angles, and which patches see each other.

Worked out on the CPU from grids in plain numbers, so that no forward waits for its device.
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
    """Of P patches, time step by time step, merge blocks together.

    corners (P, 4) rows of the table of learned positions, weights (P, 4) of each; coordinates
    (P, 2) row and column; lengths of the steps, cu_seqlens (steps + 1,) their ends.
    """

    corners: Tensor
    weights: Tensor
    coordinates: Tensor
    cu_seqlens: Tensor
    lengths: tuple[int, ...]


def patch_positions(
    grids: Sequence[Grid], side: int, merge: int, device: torch.device
) -> PatchPositions:
    """Positions in grids of (time steps, rows, columns); the learned table is side x side."""
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
    """(cos, sin), (P, head dim) float32: rows turn one half of each half, columns the other."""
    angles = (coordinates[..., None].float() * frequencies.float()).flatten(1)
    doubled = torch.cat([angles, angles], -1)
    return doubled.cos(), doubled.sin()


@lru_cache(maxsize=512)
def _still(rows: int, columns: int, side: int, merge: int) -> tuple[Tensor, Tensor, Tensor]:
    """Corners, weights and coordinates of one time step; the table is resampled bilinearly."""
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
