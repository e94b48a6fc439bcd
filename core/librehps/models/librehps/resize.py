"""Resizing of uint8 pixels to the model's input size, equal to the reference implementation."""

import math

import torch.nn.functional as F
from torch import Tensor

from librehps.media.aspect import check_aspect_ratio
from librehps.models.scale import scale_as_floats

# Patch side 16 times merge 2: both sides of an image are multiples of 32.
UNIT = 32
PIXEL_BUDGET = 256 * 28 * 28


def target_size(height: int, width: int, pixel_budget: int) -> tuple[int, int]:
    """Return (height, width) for the model: multiples of 32, about `pixel_budget` pixels.

    The aspect ratio is kept; a budget of 0 only rounds the sides. Raises AspectRatioError over
    200:1.
    """
    check_aspect_ratio(height, width)
    rows, columns = round(height / UNIT) * UNIT, round(width / UNIT) * UNIT
    if not pixel_budget:
        return max(UNIT, rows), max(UNIT, columns)
    if rows * columns > pixel_budget:
        shrink = math.sqrt(height * width / pixel_budget)
        return (
            max(UNIT, math.floor(height / shrink / UNIT) * UNIT),
            max(UNIT, math.floor(width / shrink / UNIT) * UNIT),
        )
    if rows * columns < pixel_budget:
        grow = math.sqrt(pixel_budget / (height * width))
        return math.ceil(height * grow / UNIT) * UNIT, math.ceil(width * grow / UNIT) * UNIT
    return rows, columns


def resize(pixels: Tensor, pixel_budget: int) -> Tensor:
    """Return (frames, 3, H, W) uint8 pixels resized on the CPU: antialiased bicubic on integers.

    The result of floats, or of Pillow, differs by far more than the golden tolerance.
    """
    size = target_size(pixels.shape[-2], pixels.shape[-1], pixel_budget)
    if tuple(pixels.shape[-2:]) == size:
        return pixels
    return F.interpolate(pixels, size=size, mode="bicubic", antialias=True)


def resize_as_floats(pixels: Tensor, pixel_budget: int) -> Tensor:
    """Return resized pixels, computed in floats on any device.

    Few values differ from `resize`, by one or two levels.
    """
    size = target_size(pixels.shape[-2], pixels.shape[-1], pixel_budget)
    return scale_as_floats(pixels, size)
