"""Resizing of pixels on the device that holds them."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def scale_as_floats(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    """Return (frames, 3, H, W) pixels resized to (height, width): antialiased bicubic.

    Computed in floats, and rounded after each of the two directions like the CPU's integer kernels.
    Pixels are uint8, or the same levels as floats, which keep their graph; see `to_levels`.
    """
    height, width = size
    for step in ((pixels.shape[-2], width), (height, width)):
        if tuple(pixels.shape[-2:]) != step:
            floats = pixels if pixels.is_floating_point() else pixels.float()
            scaled = F.interpolate(floats, size=step, mode="bicubic", antialias=True)
            pixels = to_levels(scaled).to(pixels.dtype)
    return pixels


def to_levels(values: Tensor) -> Tensor:
    """Return the nearest levels of floats, whole numbers in [0, 255], as floats.

    The gradient passes unchanged, since that of a step is 0 everywhere.
    """
    levels: Tensor = _Levels.apply(values)  # type: ignore[no-untyped-call]
    return levels


class _Levels(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        return values.round().clamp_(0, 255)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return grads[0]
