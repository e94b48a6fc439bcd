"""Frames of animated images, in GIF, WebP, APNG and AVIF, sampled by durations; needs no torch."""

import time
from collections.abc import Sequence

import numpy as np
from PIL import Image

from librehps.errors import (
    BrokenMediaError,
    DecompressionBombError,
    UnsupportedMediaError,
    VideoTimeoutError,
)
from librehps.media.durations import durations
from librehps.media.image_formats import MAX_PIXELS, check_pixels, damage_named, open_image
from librehps.media.options import MediaOptions
from librehps.media.pillow_reader import planes, read_image
from librehps.media.remarks import ANIMATED, TRANSPARENT
from librehps.media.sampling import sample_durations

ANIMATION_TIMEOUT_S = 60.0
MAX_FRAMES = 100_000

# Pixels (frames, 3, H, W) uint8, indices of the frames, and names of `librehps.media.remarks`.
Frames = tuple[np.ndarray, list[int], frozenset[str]]


def animation_frames(
    content: bytes, name: str, num_frames: int, options: MediaOptions, max_pixels: int = MAX_PIXELS
) -> Frames:
    """Return the frames at the middles of `num_frames` equal spans of an animation's time.

    Raises MediaError, also for an animation that is not decoded within ANIMATION_TIMEOUT_S of CPU.
    """
    deadline = time.thread_time() + ANIMATION_TIMEOUT_S
    image = open_image(content, name, max_pixels)
    check_pixels(*image.size, name, max_pixels)
    indices = sample_durations(_durations(content, name, image, deadline), num_frames)
    pictures, remarks = _pictures(image, name, indices, deadline, options, max_pixels)
    if len({picture.shape for picture in pictures.values()}) > 1:
        raise UnsupportedMediaError(f"{name}: its frames differ in size")
    frames = np.stack([pictures[index] for index in indices])
    return frames, indices, frozenset((ANIMATED, *remarks))


def _durations(content: bytes, name: str, image: Image.Image, deadline: float) -> list[float]:
    """Return how long each frame is shown; raises MediaError unless the image has these frames."""
    times = []
    for shown in durations(content, name):
        _check_time(name, deadline)
        times.append(shown)
        if len(times) > MAX_FRAMES:
            raise DecompressionBombError(f"{name}: too many frames (at most {MAX_FRAMES})")
    with damage_named(name):
        count = getattr(image, "n_frames", 1) - _first(image)
    if count != len(times):
        raise BrokenMediaError(f"{name} is damaged: its number of frames is not as declared")
    return times


def _first(image: Image.Image) -> int:
    """Return the first frame: the default image of an APNG may be no frame of its animation."""
    return int(bool(getattr(image, "default_image", False)))


def _pictures(
    image: Image.Image,
    name: str,
    indices: Sequence[int],
    deadline: float,
    options: MediaOptions,
    max_pixels: int,
) -> tuple[dict[int, np.ndarray], set[str]]:
    """Return the pixels of these frames by index, decoded in order in time, and the remarks."""
    wanted, first = set(indices), _first(image)
    pictures, remarks = {}, set[str]()

    def keep(rgb: Image.Image, is_transparent: bool) -> np.ndarray:
        if is_transparent:
            remarks.add(TRANSPARENT)
        return planes(rgb)

    for at in range(max(indices) + 1):
        _check_time(name, deadline)
        with damage_named(f"{name}: frame {at}"):
            image.seek(at + first)
        if at in wanted:
            pictures[at] = read_image(image, name, keep, options, max_pixels)
    return pictures, remarks


def _check_time(name: str, deadline: float) -> None:
    if time.thread_time() > deadline:
        limit = f"{ANIMATION_TIMEOUT_S:g} s"
        raise VideoTimeoutError(f"{name}: timeout: not decoded within {limit}")
