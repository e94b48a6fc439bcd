"""Images as uint8 RGB pixels, from paths, bytes, PIL images, arrays or tensors."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from librehps.errors import (
    BrokenMediaError,
    DecompressionBombError,
    MediaError,
    UnsupportedMediaError,
)
from librehps.media.arrays import from_array, quantised
from librehps.media.aspect import check_aspect_ratio
from librehps.media.containers import read_bytes
from librehps.media.image_formats import (
    DAMAGE_ERRORS,
    MAX_PIXELS,
    check_pixels,
    damage_named,
    open_image,
)
from librehps.media.options import MediaOptions
from librehps.media.remarks import TRANSPARENT
from librehps.media.rgb import stored, to_rgb

if TYPE_CHECKING:
    from librehps.types import ImageSource

Read = TypeVar("Read")
DEFAULT = MediaOptions()
# Tag of EXIF; 1 is upright.
ORIENTATION = 0x0112


@dataclass(frozen=True)
class Picture:
    """The (3, H, W) uint8 pixels of an image; `remarks` are names of `librehps.media.remarks`."""

    pixels: Tensor
    remarks: frozenset[str] = frozenset()


def load_pixels(
    source: "ImageSource",
    name: str = "the image",
    max_pixels: int = MAX_PIXELS,
    options: MediaOptions = DEFAULT,
) -> Tensor:
    """Return (3, H, W) uint8 pixels of a path, encoded bytes, PIL image, tensor or array.

    A tensor is (3, H, W), a numpy array (H, W, 3); both uint8, or floats in [0, 1]. `name` is used
    in errors if the source is not a path. An image of more than `max_pixels` is not decoded. EXIF
    orientation is applied, the first frame of an animation used. Raises MediaError.
    """
    return load_picture(source, name, max_pixels, options).pixels


def load_picture(
    source: "ImageSource",
    name: str = "the image",
    max_pixels: int = MAX_PIXELS,
    options: MediaOptions = DEFAULT,
) -> Picture:
    """Return the pixels that `load_pixels` returns, and what there is to say about them."""
    if isinstance(source, Tensor):
        return Picture(quantised(source.cpu()))
    if isinstance(source, np.ndarray):
        return Picture(quantised(from_array(source)))
    if isinstance(source, Image.Image):
        return read_image(source, name, to_picture, options)
    if isinstance(source, str | Path):
        source, name = read_bytes(Path(source)), str(source)
    if isinstance(source, bytes):
        image = open_image(source, name, max_pixels)
        return read_image(image, name, to_picture, options, max_pixels)
    raise UnsupportedMediaError(
        f"expected an image as path, bytes, PIL image, array or tensor, got {type(source).__name__}"
    )


def load_rgb(content: bytes, name: str) -> Image.Image:
    """Return the image in encoded bytes, upright and as 8-bit RGB; raises MediaError."""
    return read_image(open_image(content, name), name, lambda rgb, _: rgb, DEFAULT)


def to_picture(rgb: Image.Image, is_transparent: bool) -> Picture:
    pixels = torch.from_numpy(np.asarray(rgb).transpose(2, 0, 1).copy())
    return Picture(pixels, frozenset((TRANSPARENT,)) if is_transparent else frozenset())


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


def _upright(image: Image.Image) -> Image.Image:
    try:
        # Only a turned image is copied: most are not.
        is_turned = image.getexif().get(ORIENTATION, 1) != 1
        return ImageOps.exif_transpose(image) if is_turned else image
    except DAMAGE_ERRORS:
        # Viewers show an image with damaged EXIF too, without any rotation.
        return image
