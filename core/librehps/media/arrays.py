"""Pixels in memory, arrays and tensors, as uint8 tensors."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from librehps.errors import UnsupportedMediaError
from librehps.media.aspect import check_aspect_ratio

# Float pixels may exceed [0, 1] by this much, through rounding.
STRAY = 1 / 255


def from_array(array: Any) -> Tensor:
    """Return an (H, W, 3) array, uint8 or floats in [0, 1], as a (3, H, W) tensor.

    Raises UnsupportedMediaError.
    """
    is_rgb = array.ndim == 3 and array.shape[2] == 3
    if not is_rgb or (array.dtype.kind != "f" and array.dtype != np.uint8):
        raise UnsupportedMediaError(
            "expected an array of shape (H, W, 3), uint8 or floats in [0, 1], "
            f"got {array.shape} of {array.dtype}"
        )
    # Pixels become float32 anyway; torch supports neither longdouble nor foreign byte order.
    array = array.astype(np.float32) if array.dtype.kind == "f" else array
    return torch.from_numpy(np.array(array.transpose(2, 0, 1), order="C"))


def quantised(tensor: Tensor) -> Tensor:
    """Return (3, H, W) uint8 pixels of a uint8 tensor or a float tensor in [0, 1], on its device.

    Raises MediaError.
    """
    return as_bytes(tensor).contiguous()


def as_bytes(tensor: Tensor) -> Tensor:
    """Return the pixels that `quantised` returns, in the tensor's own order in memory."""
    if tensor.ndim != 3 or tensor.shape[0] != 3 or not tensor.numel():
        shape = tuple(tensor.shape)
        raise UnsupportedMediaError(f"expected a tensor of shape (3, H, W), got {shape}")
    check_aspect_ratio(tensor.shape[1], tensor.shape[2])
    if tensor.is_meta:
        raise UnsupportedMediaError("expected pixels, got a tensor on the device meta: it has none")
    if tensor.layout != torch.strided:
        raise UnsupportedMediaError(f"expected a dense tensor, got layout {tensor.layout}")
    tensor = tensor.detach()
    if tensor.dtype == torch.uint8:
        return tensor
    if not tensor.is_floating_point():
        raise UnsupportedMediaError(f"expected float or uint8 pixels, got {tensor.dtype}")
    tensor = tensor.float()
    if tensor.device.type != "cpu":
        _check_bounds(tensor.min().item(), tensor.max().item())
        return (tensor.clamp(0, 1) * 255).round().to(torch.uint8)
    # The same bits by numpy, which takes a fifth of the processor's time.
    array = tensor.numpy()
    _check_bounds(float(array.min()), float(array.max()))
    pixels = array.clip(0, 1)
    pixels *= 255
    return torch.from_numpy(np.rint(pixels, out=pixels).astype(np.uint8))


def _check_bounds(low: float, high: float) -> None:
    # Written so that NaN, which compares false, is an error too.
    if not (low >= -STRAY and high <= 1 + STRAY):
        raise UnsupportedMediaError(
            f"expected float pixels in [0, 1], got {low:.3g} to {high:.3g}",
            hint="Convert pixels in [-1, 1] with (x + 1) / 2.",
        )


def interleaved(tensor: Tensor) -> NDArray[np.uint8]:
    """Return (3, H, W) uint8 pixels of a CPU as an (H, W, 3) array, copied only if needed."""
    pixels: NDArray[np.uint8] = tensor.permute(1, 2, 0).numpy()
    if pixels.flags.c_contiguous:
        return pixels
    array = np.empty(pixels.shape, np.uint8)
    for channel in range(3):
        # One plane at a time takes a fifth of the time of one transposed copy.
        array[..., channel] = pixels[..., channel]
    return array
