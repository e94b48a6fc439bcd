"""Resizing of pixels on the device that holds them."""

import torch.nn.functional as F
from torch import Tensor


def scale_as_floats(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    """Return (frames, 3, H, W) uint8 pixels resized to (height, width): antialiased bicubic.

    Computed in floats, and rounded after each of the two directions like the CPU's integer kernels.
    """
    height, width = size
    for step in ((pixels.shape[-2], width), (height, width)):
        if tuple(pixels.shape[-2:]) != step:
            scaled = F.interpolate(pixels.float(), size=step, mode="bicubic", antialias=True)
            pixels = scaled.round().clamp(0, 255).to(pixels.dtype)
    return pixels
