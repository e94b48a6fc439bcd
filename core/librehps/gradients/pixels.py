"""Float pixels with a graph, as the levels that a model's processor takes."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from librehps.errors import UsageError
from librehps.media.arrays import STRAY
from librehps.media.sampling import sample_indices
from librehps.models.scale import to_levels

SHAPES = "(3, H, W), or (frames, 3, H, W) for a clip"
LEVELS = 255


def samples_of(images: Any) -> list[Tensor]:
    """Return the images or clips of a batch, a tensor or a list of tensors; raises UsageError."""
    if isinstance(images, Tensor):
        if images.ndim not in (4, 5):
            raise UsageError(
                f"images: expected a tensor (B, 3, H, W) or (B, frames, 3, H, W), got "
                f"{tuple(images.shape)}",
                hint="Add the batch axis with images[None], or give a list of tensors.",
            )
    elif not isinstance(images, list | tuple):
        raise UsageError(
            f"images: expected a tensor or a list of tensors, got {type(images).__name__}",
            hint="Files and PIL images have no gradient: use score_images_batch for them.",
        )
    samples = list(images)
    for at, pixels in enumerate(samples):
        _check(at, pixels)
    return samples


def levels_of(pixels: Tensor, frames: int, device: torch.device) -> Tensor:
    """Return (frames, 3, H, W) levels in [0, 255] as floats on the device, with their graph.

    Of a clip the frames that a score samples, at most `frames` of them. Levels are whole numbers,
    as those of a file; the gradient passes through the rounding.
    """
    clip = pixels if pixels.ndim == 4 else pixels[None]
    chosen = sample_indices(len(clip), frames)
    if chosen != list(range(len(clip))):
        clip = clip[chosen]
    floats = clip.to(device)
    floats = floats if floats.dtype == torch.float64 else floats.float()
    return to_levels(floats * LEVELS)


def check_range(samples: Sequence[Tensor]) -> None:
    """Raise UsageError unless the pixels of all samples are in [0, 1], up to rounding."""
    for at, pixels in enumerate(samples):
        low, high = (value.item() for value in pixels.detach().float().aminmax())
        # Written so that NaN, which compares false, is an error too.
        if not (low >= -STRAY and high <= 1 + STRAY):
            raise UsageError(
                f"images[{at}]: expected float pixels in [0, 1], got {low:.3g} to {high:.3g}",
                hint="Convert pixels in [-1, 1] with (x + 1) / 2; a sigmoid, unlike a clamp, keeps "
                "the gradient of pixels at the bounds.",
            )


def _check(at: int, pixels: Any) -> None:
    if not isinstance(pixels, Tensor):
        raise UsageError(
            f"images[{at}]: expected a tensor of float pixels, got {type(pixels).__name__}",
            hint="Files and PIL images have no gradient: use score_images_batch for them.",
        )
    if not pixels.is_floating_point():
        raise UsageError(
            f"images[{at}]: {pixels.dtype} pixels have no gradient (expected floats in [0, 1])",
            hint="Give the generator's output before it is rounded, or use score_images_batch.",
        )
    if pixels.ndim not in (3, 4) or pixels.shape[-3] != 3 or not pixels.numel():
        shape = tuple(pixels.shape)
        raise UsageError(f"images[{at}]: expected a tensor of shape {SHAPES}, got {shape}")
