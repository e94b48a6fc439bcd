"""Resizing on a device, for pixels that are there already."""

import torch.nn.functional as F
from torch import Tensor


def scale_as_floats(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize (frames, 3, H, W) uint8 to (height, width) on floats: antialiased bicubic.

    Rounds to levels after each of the two directions, as the integer kernels on the CPU do.
    """
    height, width = size
    for step in ((pixels.shape[-2], width), (height, width)):
        if tuple(pixels.shape[-2:]) != step:
            scaled = F.interpolate(pixels.float(), size=step, mode="bicubic", antialias=True)
            pixels = scaled.round().clamp(0, 255).to(pixels.dtype)
    return pixels
