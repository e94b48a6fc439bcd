"""Animated images, in GIF, WebP, APNG and AVIF, as clips: frames sampled by their durations."""

import time
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate, islice

import torch
from PIL import Image

from librehps.errors import BrokenMediaError, DecompressionBombError, VideoTimeoutError
from librehps.media.durations import durations
from librehps.media.image_formats import DAMAGE_ERRORS, MAX_PIXELS, open_image
from librehps.media.images import Picture, read_image, to_picture
from librehps.media.options import MediaOptions
from librehps.media.remarks import ANIMATED
from librehps.media.sampling import sample_indices
from librehps.media.videos import VIDEO_TIMEOUT_S, Clip

MAX_FRAMES = 100_000


def read_animation(
    content: bytes, name: str, num_frames: int, options: MediaOptions, max_pixels: int = MAX_PIXELS
) -> Clip:
    """Return the frames at the middles of `num_frames` equal spans of an animation's time.

    Raises MediaError, also for an animation that is not decoded within VIDEO_TIMEOUT_S.
    """
    try:
        times = list(islice(durations(content), MAX_FRAMES + 1))
    except BrokenMediaError as error:
        raise BrokenMediaError(f"{name}: {error}") from error
    if len(times) > MAX_FRAMES:
        raise DecompressionBombError(f"{name}: too many frames (at most {MAX_FRAMES})")
    indices = sample_durations(times, num_frames)
    image = open_image(content, name, max_pixels)
    # The default image of an APNG may be no frame of its animation.
    first = int(bool(getattr(image, "default_image", False)))
    if getattr(image, "n_frames", 1) - first != len(times):
        raise BrokenMediaError(f"{name} is damaged: its number of frames is not as declared")
    pictures = _pictures(image, name, indices, first, options, max_pixels)
    pixels = torch.stack([pictures[index].pixels for index in indices])
    remarks = {ANIMATED}.union(*(picture.remarks for picture in pictures.values()))
    return Clip(pixels, tuple(indices), frozenset(remarks))


def sample_durations(times: Sequence[float], wanted: int) -> list[int]:
    """Return the indices of the frames shown at the middles of `wanted` equal spans of time.

    Frames of equal durations are sampled by index, like those of a video.
    """
    if len(times) <= wanted or len(set(times)) == 1:
        return sample_indices(len(times), wanted)
    ends = list(accumulate(times))
    span = ends[-1] / wanted
    return [bisect_right(ends, span * (at + 0.5)) for at in range(wanted)]


def _pictures(
    image: Image.Image,
    name: str,
    indices: Sequence[int],
    first: int,
    options: MediaOptions,
    max_pixels: int,
) -> dict[int, Picture]:
    """Return the pictures of these frames by index, decoded in order within the time limit."""
    wanted, last = set(indices), max(indices)
    pictures = {}
    start = time.monotonic()
    for at in range(last + 1):
        if time.monotonic() - start > VIDEO_TIMEOUT_S:
            limit = f"{VIDEO_TIMEOUT_S:g} s"
            raise VideoTimeoutError(f"{name}: timeout: not decoded within {limit}")
        try:
            image.seek(at + first)
        except DAMAGE_ERRORS as error:
            raise BrokenMediaError(f"{name} is damaged at frame {at}: {error}") from error
        if at in wanted:
            pictures[at] = read_image(image, name, to_picture, options, max_pixels)
    return pictures
