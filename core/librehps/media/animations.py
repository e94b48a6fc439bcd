"""Animated images, in GIF, WebP, APNG and AVIF, as clips: frames sampled by their durations."""

import time
from collections.abc import Sequence

import torch
from PIL import Image

from librehps.errors import (
    BrokenMediaError,
    DecompressionBombError,
    UnsupportedMediaError,
    VideoTimeoutError,
)
from librehps.media.durations import durations
from librehps.media.image_formats import MAX_PIXELS, check_pixels, damage_named, open_image
from librehps.media.images import Picture, read_image, to_picture
from librehps.media.options import MediaOptions
from librehps.media.remarks import ANIMATED
from librehps.media.sampling import sample_durations
from librehps.media.videos import VIDEO_TIMEOUT_S, Clip

MAX_FRAMES = 100_000


def read_animation(
    content: bytes, name: str, num_frames: int, options: MediaOptions, max_pixels: int = MAX_PIXELS
) -> Clip:
    """Return the frames at the middles of `num_frames` equal spans of an animation's time.

    Raises MediaError, also for an animation that is not decoded within VIDEO_TIMEOUT_S.
    """
    deadline = time.monotonic() + VIDEO_TIMEOUT_S
    image = open_image(content, name, max_pixels)
    check_pixels(*image.size, name, max_pixels)
    indices = sample_durations(_durations(content, name, image, deadline), num_frames)
    pictures = _pictures(image, name, indices, deadline, options, max_pixels)
    frames = [pictures[index].pixels for index in indices]
    if len({frame.shape for frame in frames}) > 1:
        raise UnsupportedMediaError(f"{name}: its frames differ in size")
    remarks = {ANIMATED}.union(*(picture.remarks for picture in pictures.values()))
    return Clip(torch.stack(frames), tuple(indices), frozenset(remarks))


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
) -> dict[int, Picture]:
    """Return the pictures of these frames by index, decoded in order within the time limit."""
    wanted, first = set(indices), _first(image)
    pictures = {}
    for at in range(max(indices) + 1):
        _check_time(name, deadline)
        with damage_named(f"{name}: frame {at}"):
            image.seek(at + first)
        if at in wanted:
            pictures[at] = read_image(image, name, to_picture, options, max_pixels)
    return pictures


def _check_time(name: str, deadline: float) -> None:
    if time.monotonic() > deadline:
        raise VideoTimeoutError(f"{name}: timeout: not decoded within {VIDEO_TIMEOUT_S:g} s")
