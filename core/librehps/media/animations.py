"""Animated images, in GIF, WebP, APNG and AVIF, as clips."""

import torch

from librehps.media.animation_frames import animation_frames
from librehps.media.image_formats import MAX_PIXELS
from librehps.media.options import MediaOptions
from librehps.media.videos import Clip


def read_animation(
    content: bytes, name: str, num_frames: int, options: MediaOptions, max_pixels: int = MAX_PIXELS
) -> Clip:
    """Return the frames at the middles of `num_frames` equal spans of an animation's time.

    Raises MediaError, also for an animation that is not decoded within a minute.
    """
    frames, indices, remarks = animation_frames(content, name, num_frames, options, max_pixels)
    return Clip(torch.from_numpy(frames), tuple(indices), remarks)
