"""Images as uint8 RGB pixels, from paths, bytes, PIL images, arrays or tensors."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from librehps.errors import UnsupportedMediaError
from librehps.media.arrays import as_bytes, from_array, interleaved, quantised
from librehps.media.containers import read_bytes
from librehps.media.image_formats import MAX_PIXELS, open_image
from librehps.media.options import MediaOptions
from librehps.media.pillow_reader import planes, read_image
from librehps.media.remarks import PAGES, TRANSPARENT

if TYPE_CHECKING:
    from librehps.types import ImageSource

DEFAULT = MediaOptions()


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
        # A tensor without data cannot be copied: `quantised` says so.
        return Picture(quantised(source if source.is_meta else source.cpu()))
    if isinstance(source, np.ndarray):
        return Picture(quantised(from_array(source)))
    if isinstance(source, Image.Image):
        return read_image(source, name, to_picture, options)
    if isinstance(source, str | Path):
        source, name = read_bytes(Path(source)), str(source)
    if isinstance(source, bytes):
        image = open_image(source, name, max_pixels)
        # Known from the header, before the pixels are read.
        has_pages = image.format == "TIFF" and getattr(image, "is_animated", False)
        picture = read_image(image, name, to_picture, options, max_pixels)
        return replace(picture, remarks=picture.remarks | {PAGES}) if has_pages else picture
    raise UnsupportedMediaError(
        f"expected an image as path, bytes, PIL image, array or tensor, got {type(source).__name__}"
    )


def load_rgb_array(source: "ImageSource") -> NDArray[np.uint8]:
    """Return the pixels that `load_pixels` returns as an (H, W, 3) array, contiguous."""
    if isinstance(source, Image.Image):
        return read_image(source, "the image", lambda rgb, _: np.asarray(rgb), DEFAULT)
    if isinstance(source, Tensor):
        return interleaved(as_bytes(source.cpu()))
    return interleaved(load_pixels(source))


def load_rgb(content: bytes, name: str) -> Image.Image:
    """Return the image in encoded bytes, upright and as 8-bit RGB; raises MediaError."""
    return read_image(open_image(content, name), name, lambda rgb, _: rgb, DEFAULT)


def to_picture(rgb: Image.Image, is_transparent: bool) -> Picture:
    return Picture(
        torch.from_numpy(planes(rgb)), frozenset((TRANSPARENT,)) if is_transparent else frozenset()
    )
