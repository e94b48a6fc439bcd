"""Resizing of uint8 pixels to HPSv3's input size, by Pillow as in the package hpsv3."""

import math

import torch
from PIL import Image
from torch import Tensor

from librehps.media.aspect import check_aspect_ratio
from librehps.models.scale import scale_as_floats

# Patch side 14 times merge 2: both sides of an image are multiples of 28.
UNIT = 28
PIXEL_BUDGET = 256 * UNIT * UNIT


def target_size(height: int, width: int, pixel_budget: int) -> tuple[int, int]:
    """Return (height, width) for the model: multiples of 28, about `pixel_budget` pixels.

    A budget of 0 only rounds the sides. Raises AspectRatioError if the image or its target size is
    over 200:1.
    """
    check_aspect_ratio(height, width)
    size = _fitted(height, width, pixel_budget)
    check_aspect_ratio(*size)
    return size


def _fitted(height: int, width: int, pixel_budget: int) -> tuple[int, int]:
    rows = max(UNIT, round(height / UNIT) * UNIT)
    columns = max(UNIT, round(width / UNIT) * UNIT)
    if not pixel_budget or rows * columns == pixel_budget:
        return rows, columns
    if rows * columns > pixel_budget:
        shrink = math.sqrt(height * width / pixel_budget)
        return (
            max(UNIT, math.floor(height / shrink / UNIT) * UNIT),
            max(UNIT, math.floor(width / shrink / UNIT) * UNIT),
        )
    grow = math.sqrt(pixel_budget / (height * width))
    return math.ceil(height * grow / UNIT) * UNIT, math.ceil(width * grow / UNIT) * UNIT


def resize(pixels: Tensor, pixel_budget: int) -> Tensor:
    """Return (1, 3, H, W) uint8 pixels resized on the CPU by Pillow's bicubic filter.

    Torch's result differs by up to two levels, and mu by more than the golden tolerance.
    """
    height, width = target_size(pixels.shape[-2], pixels.shape[-1], pixel_budget)
    if tuple(pixels.shape[-2:]) == (height, width):
        return pixels
    picture = Image.fromarray(pixels[0].permute(1, 2, 0).contiguous().numpy())
    scaled = picture.resize((width, height), Image.Resampling.BICUBIC)
    values = torch.frombuffer(bytearray(scaled.tobytes()), dtype=torch.uint8)
    return values.view(1, height, width, 3).permute(0, 3, 1, 2).contiguous()


def resize_as_floats(pixels: Tensor, pixel_budget: int) -> Tensor:
    """Return resized pixels, computed in floats on any device.

    Few values differ from `resize`, by one or two levels.
    """
    size = target_size(pixels.shape[-2], pixels.shape[-1], pixel_budget)
    return scale_as_floats(pixels, size)
