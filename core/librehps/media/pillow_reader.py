"""Decoded images, upright and as 8-bit RGB, read by Pillow; needs no torch."""

from collections.abc import Callable
from typing import TypeVar

import numpy as np
from PIL import Image, ImageOps

from librehps.errors import BrokenMediaError, DecompressionBombError, MediaError
from librehps.media.aspect import check_aspect_ratio
from librehps.media.image_formats import DAMAGE_ERRORS, MAX_PIXELS, check_pixels, damage_named
from librehps.media.options import MediaOptions
from librehps.media.rgb import stored, to_rgb

Read = TypeVar("Read")
# Tag of EXIF; 1 is upright.
ORIENTATION = 0x0112
# So many pixels are copied at once: a whole second copy would double the memory.
BAND_PIXELS = 1 << 20


def read_image(
    image: Image.Image,
    name: str,
    use: Callable[[Image.Image, bool], Read],
    options: MediaOptions,
    max_pixels: int = MAX_PIXELS,
) -> Read:
    """Return `use(rgb, is_transparent)` of the decoded image, upright; raises MediaError."""
    width, height = image.size
    if not width or not height:
        raise BrokenMediaError(f"{name} has no pixels")
    check_pixels(width, height, name, max_pixels)
    with damage_named(name):
        try:
            check_aspect_ratio(height, width)
            how = stored(image)
            image.load()
            return use(*to_rgb(_upright(image), options, how))
        except MediaError as error:
            raise type(error)(f"{name}: {error}") from error
        except MemoryError as error:
            raise DecompressionBombError(
                f"{name}: {width} x {height} does not fit in memory"
            ) from error


def planes(rgb: Image.Image) -> np.ndarray:
    """Return the (3, H, W) uint8 pixels of an RGB image."""
    width, height = rgb.size
    pixels = np.empty((3, height, width), np.uint8)
    rows = max(1, BAND_PIXELS // width)
    for top in range(0, height, rows):
        end = min(height, top + rows)
        band = rgb if end - top == height else rgb.crop((0, top, width, end))
        pixels[:, top:end] = np.asarray(band).transpose(2, 0, 1)
    return pixels


def is_turned(image: Image.Image) -> bool:
    """Return whether the metadata of an image turn or mirror its pixels."""
    try:
        return bool(image.getexif().get(ORIENTATION, 1) != 1)
    except DAMAGE_ERRORS:
        return False


def _upright(image: Image.Image) -> Image.Image:
    try:
        # Only a turned image is copied: most are not.
        return ImageOps.exif_transpose(image) if is_turned(image) else image
    except DAMAGE_ERRORS:
        # Viewers show an image with damaged EXIF too, without any rotation.
        return image
