"""Images as uint8 RGB pixels, from paths, bytes, PIL images, arrays or tensors."""

import re
import struct
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError
from torch import Tensor

from librehps.errors import (
    BrokenMediaError,
    DecompressionBombError,
    MediaError,
    UnsupportedMediaError,
)
from librehps.media.aspect import check_aspect_ratio
from librehps.media.containers import read_bytes, resembles

if TYPE_CHECKING:
    from librehps.types import ImageSource

Read = TypeVar("Read")
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF")
# First bytes of these formats.
_MAGIC = re.compile(
    rb"\x89PNG\r\n\x1a\n|\xff\xd8\xff|RIFF....WEBP|BM|II\*\0|MM\0\*|GIF8[79]a", re.DOTALL
)
# Pillow's own limit: twice the size at which it warns.
MAX_PIXELS = 2 * 89_478_485
# Errors that Pillow's readers of these formats raise for damaged files.
DAMAGE_ERRORS = (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError,
                 OverflowError, AssertionError, struct.error, zlib.error)  # fmt: skip
# Float pixels may exceed [0, 1] by this much, through rounding.
STRAY = 1 / 255
FULL_SCALES = (255, 65535, 2**31 - 1, 2**32 - 1)


def load_pixels(
    source: "ImageSource", name: str = "the image", max_pixels: int = MAX_PIXELS
) -> Tensor:
    """Return (3, H, W) uint8 pixels of a path, encoded bytes, PIL image, tensor or array.

    A tensor is (3, H, W), a numpy array (H, W, 3); both uint8, or floats in [0, 1]. `name` is used
    in errors if the source is not a path. An image of more than `max_pixels` is not decoded. EXIF
    orientation is applied, transparency dropped, the first frame of an animation used. Raises
    MediaError.
    """
    if isinstance(source, Tensor):
        return quantised(source.cpu())
    if isinstance(source, np.ndarray):
        return quantised(from_array(source))
    if isinstance(source, Image.Image):
        return _from_pil(source, name)
    if isinstance(source, str | Path):
        source, name = read_bytes(Path(source)), str(source)
    if isinstance(source, bytes):
        return _from_pil(open_image(source, name), name, max_pixels)
    raise UnsupportedMediaError(
        f"expected an image as path, bytes, PIL image, array or tensor, got {type(source).__name__}"
    )


def open_image(content: bytes, name: str) -> Image.Image:
    """Return the image with its header read but no pixels; raises MediaError."""
    try:
        return Image.open(BytesIO(content), formats=FORMATS)
    except UnidentifiedImageError:
        if _MAGIC.match(content) and not resembles(content):
            raise BrokenMediaError(f"{name} is damaged: its header cannot be read") from None
        raise UnsupportedMediaError(
            f"{name} is {resembles(content) or 'not a supported image'}: "
            f"expected {', '.join(FORMATS)}"
        ) from None
    except Image.DecompressionBombError as error:
        raise DecompressionBombError(f"{name}: {error}") from error
    except DAMAGE_ERRORS as error:
        raise BrokenMediaError(f"{name} is damaged: {error}") from error


def load_rgb(path: Path) -> Image.Image:
    """Return the image of a file, upright and as 8-bit RGB; raises MediaError."""
    return _read(open_image(read_bytes(path), str(path)), str(path), lambda rgb: rgb)


def _from_pil(image: Image.Image, name: str, max_pixels: int = MAX_PIXELS) -> Tensor:
    return _read(image, name, _to_tensor, max_pixels)


def _to_tensor(rgb: Image.Image) -> Tensor:
    return torch.from_numpy(np.asarray(rgb).transpose(2, 0, 1).copy())


def _read(
    image: Image.Image,
    name: str,
    use: Callable[[Image.Image], Read],
    max_pixels: int = MAX_PIXELS,
) -> Read:
    """Return `use(rgb)` of the decoded image, upright and in RGB; raises MediaError."""
    width, height = image.size
    if not width or not height:
        raise BrokenMediaError(f"{name} has no pixels")
    if width * height > max_pixels:
        raise DecompressionBombError(
            f"{name}: too many pixels ({width} x {height}; at most {max_pixels})"
        )
    try:
        check_aspect_ratio(height, width)
        image.load()
        return use(to_rgb(_upright(image), _is_unsigned(image)))
    except MediaError as error:
        raise type(error)(f"{name}: {error}") from error
    except MemoryError as error:
        raise DecompressionBombError(
            f"{name}: {width} x {height} does not fit in memory"
        ) from error
    except DAMAGE_ERRORS as error:
        raise BrokenMediaError(f"{name} is damaged: {error}") from error


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except DAMAGE_ERRORS:
        # Viewers show an image with damaged EXIF too, without any rotation.
        return image


def to_rgb(image: Image.Image, unsigned: bool = False) -> Image.Image:
    """Return an image of any mode as 8-bit RGB.

    Integer and float modes are scaled first, because Pillow would clip them.
    """
    if image.mode.startswith("I;16"):
        # The high byte, as Pillow does for 16-bit colour.
        values = np.asarray(image).astype(np.uint16) >> 8
        return Image.fromarray(values.astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        numbers = np.asarray(image)
        numbers = (numbers.view(np.uint32) if unsigned else numbers).astype(np.float64)
        return Image.fromarray(_scaled(numbers, image.mode == "F")).convert("RGB")
    if image.mode == "LAB":
        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        return ImageCms.buildTransform(lab, srgb, "LAB", "RGB").apply(image)
    if image.mode in ("La", "RGBa"):
        image = image.convert(image.mode[:-1] + "A")
    return image.convert("RGB")


def _is_unsigned(image: Image.Image) -> bool:
    """Return whether the image is an unsigned 32-bit TIFF, which Pillow reads as signed."""
    if image.mode != "I" or image.format != "TIFF":
        return False
    bits, sample_format = (getattr(image, "tag_v2", {}).get(tag, (1,)) for tag in (258, 339))
    return tuple(bits)[:1] == (32,) and tuple(sample_format)[:1] == (1,)


def _scaled(values: np.ndarray, is_float: bool) -> np.ndarray:
    """Return the values scaled to [0, 255] by the smallest full scale that holds the largest value.

    The full scale 1 is for floats only.
    """
    if not np.isfinite(values).all():
        raise BrokenMediaError("the image holds NaN or infinite values")
    brightest = values.max()
    if is_float and brightest <= 1:
        scale = 1
    else:
        scale = next((full for full in FULL_SCALES if brightest <= full), brightest)
    return np.rint(values.clip(0) * (255 / scale)).astype(np.uint8)


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
    return torch.from_numpy(np.ascontiguousarray(array.transpose(2, 0, 1)))


def quantised(tensor: Tensor) -> Tensor:
    """Return (3, H, W) uint8 pixels of a uint8 tensor or a float tensor in [0, 1], on its device.

    Raises MediaError.
    """
    if tensor.ndim != 3 or tensor.shape[0] != 3 or not tensor.numel():
        shape = tuple(tensor.shape)
        raise UnsupportedMediaError(f"expected a tensor of shape (3, H, W), got {shape}")
    check_aspect_ratio(tensor.shape[1], tensor.shape[2])
    tensor = tensor.detach()
    if tensor.dtype == torch.uint8:
        return tensor.contiguous()
    if not tensor.is_floating_point():
        raise UnsupportedMediaError(f"expected float or uint8 pixels, got {tensor.dtype}")
    tensor = tensor.float()
    low, high = tensor.min().item(), tensor.max().item()
    # Written so that NaN, which compares false, is an error too.
    if not (low >= -STRAY and high <= 1 + STRAY):
        raise UnsupportedMediaError(
            f"expected float pixels in [0, 1], got {low:.3g} to {high:.3g}",
            hint="Convert pixels in [-1, 1] with (x + 1) / 2.",
        )
    return (tensor.clamp(0, 1) * 255).round().to(torch.uint8)
