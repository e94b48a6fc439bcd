"""Rotary tables in bfloat16, with which HPSv3 was trained and must be scored.

The package hpsv3 casts these tables together with the weights. `transformers` keeps them in
float32, which changes mu by more than 0.5 on the golden checkpoint.
"""

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from librehps.models.vision import block_coordinates

VISION_BASE = 10_000.0


def frequencies(base: float, width: int) -> Tensor:
    """Return rotary frequencies (width / 2,), float32, rounded to what bfloat16 can hold."""
    exponents = torch.arange(0, width, 2, dtype=torch.float32, device="cpu") / width
    return (1.0 / base**exponents).bfloat16().float()


def vision_rotary(grids: Sequence[tuple[int, int]], head_width: int, merge: int) -> list[Tensor]:
    """Return cos and sin, (P, head_width / 2) float32, of patches in (rows, columns) grids.

    Angles, cosines and sines are computed in bfloat16 on the CPU, so that every device has the
    same values.
    """
    parts = [_still_rotary(rows, columns, head_width, merge) for rows, columns in grids]
    return [torch.cat(tables) for tables in zip(*parts, strict=True)]


@lru_cache(maxsize=128)
def _still_rotary(rows: int, columns: int, head_width: int, merge: int) -> tuple[Tensor, Tensor]:
    places = torch.arange(max(rows, columns)).bfloat16()
    angles = places[:, None] * frequencies(VISION_BASE, head_width // 2).bfloat16()
    coordinates = block_coordinates(rows, columns, merge)
    cos, sin = (table[coordinates].flatten(1).float() for table in (angles.cos(), angles.sin()))
    return cos, sin
