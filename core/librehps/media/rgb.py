"""Decoded images of every mode as 8-bit RGB: scaled, in sRGB, and on an opaque background."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image

from librehps.media.color import to_srgb
from librehps.media.options import MediaOptions

FULL_SCALES = (255, 65535, 2**31 - 1, 2**32 - 1)
# Floats above 1 in a smaller share of the samples are highlights, which viewers clip.
MAX_HIGHLIGHT_SHARE = 0.01
# So many samples are computed at once.
BAND_SAMPLES = 1 << 18
PREMULTIPLIED, WITH_ALPHA = ("La", "RGBa"), ("LA", "PA", "RGBA")
_PLAIN = {"1": "L", "LA": "L", "L": "L", "CMYK": "CMYK", "LAB": "LAB"}


@dataclass(frozen=True)
class Stored:
    """How samples are stored in a file, which only its header tells.

    `is_unsigned`: 32-bit integers without sign; `is_deep`: colours of 16 bits, which Pillow
    reads as their high bytes.
    """

    is_unsigned: bool = False
    is_deep: bool = False


def stored(image: Image.Image) -> Stored:
    """Return what the header of an opened image says of its samples."""
    tiles = getattr(image, "tile", ())
    is_deep = image.mode == "RGB" and any(str(tile[3]).endswith(";16B") for tile in tiles)
    return Stored(_is_unsigned(image), is_deep)


def to_rgb(
    image: Image.Image, options: MediaOptions, how: Stored | None = None
) -> tuple[Image.Image, bool]:
    """Return an image of any mode as 8-bit RGB, and whether it has transparent pixels.

    Integer and float modes are scaled first, because Pillow would clip them. Under the background
    `keep` the alpha channel is dropped unread.
    """
    how = how or Stored()
    if image.mode in PREMULTIPLIED:
        image = image.convert(image.mode[:-1] + "A")
    alpha = None if options.color is None else _alpha(image, how)
    profile = image.info.get("icc_profile") if options.color_management else None
    rgb = to_srgb(_plain(image, how), profile)
    if alpha is None:
        return rgb, False
    canvas = Image.new("RGB", image.size, options.color)
    canvas.paste(rgb, mask=alpha)
    return canvas, True


def _plain(image: Image.Image, how: Stored) -> Image.Image:
    """Return the colours as 8-bit L, RGB, CMYK or LAB."""
    if image.mode.startswith("I;16"):
        # The high byte, as Pillow does for 16-bit colour.
        values = np.asarray(image).astype(np.uint16) >> 8
        return Image.fromarray(values.astype(np.uint8))
    if image.mode in ("I", "F"):
        numbers = np.asarray(image)
        numbers = numbers.view(np.uint32) if how.is_unsigned else numbers
        scale = full_scale(bands(numbers), image.mode == "F")
        return Image.fromarray(np.concatenate([to_bytes(band, scale) for band in bands(numbers)]))
    mode = _PLAIN.get(image.mode, "RGB")
    return image if image.mode == mode else image.convert(mode)


def _alpha(image: Image.Image, how: Stored) -> Image.Image | None:
    """Return the opacity of each pixel, 0 to 255; None where every pixel is opaque."""
    if image.mode in WITH_ALPHA:
        alpha = image.getchannel("A")
    elif image.mode == "P" and image.palette and image.palette.mode.endswith("A"):
        alpha = image.convert("RGBA").getchannel("A")
    elif "transparency" not in image.info:
        return None
    else:
        alpha = _keyed_alpha(image, image.info["transparency"], how)
    return None if alpha.getextrema()[0] == 255 else alpha


def _keyed_alpha(image: Image.Image, key: object, how: Stored) -> Image.Image:
    """Return the opacity of an image with transparent palette entries or one transparent colour."""
    if image.mode == "P" or not (how.is_deep or image.mode.startswith("I")):
        return image.convert("RGBA").getchannel("A")
    values = np.asarray(image)
    if how.is_deep:
        # Only the high bytes of the pixels are left to compare.
        key = np.asarray(key) >> 8
    is_key = values == key
    is_key = is_key.all(-1) if is_key.ndim == 3 else is_key
    return Image.fromarray(np.where(is_key, 0, 255).astype(np.uint8))


def _is_unsigned(image: Image.Image) -> bool:
    """Return whether the image is an unsigned 32-bit TIFF, which Pillow reads as signed."""
    if image.mode != "I" or image.format != "TIFF":
        return False
    bits, sample_format = (getattr(image, "tag_v2", {}).get(tag, (1,)) for tag in (258, 339))
    return tuple(bits)[:1] == (32,) and tuple(sample_format)[:1] == (1,)


def bands(samples: np.ndarray) -> Iterator[np.ndarray]:
    """Yield views of a few rows each, so that what is computed of them at once stays small."""
    height = max(1, BAND_SAMPLES * len(samples) // max(1, samples.size))
    for at in range(0, len(samples), height):
        yield samples[at : at + height]


def full_scale(values: Iterable[np.ndarray], is_float: bool) -> float:
    """Return the smallest full scale that holds the largest of the values, which come in bands.

    The full scale 1 is for floats only. Raises ValueError for NaN and infinite values.
    """
    brightest, count, highlights = -np.inf, 0, 0
    for band in values:
        if not np.isfinite(band).all():
            raise ValueError("NaN or infinite pixel values")
        brightest = max(brightest, float(band.max()))
        count += band.size
        highlights += int(np.count_nonzero(band > 1))
    if is_float and highlights / count < MAX_HIGHLIGHT_SHARE:
        return 1
    return next((full for full in FULL_SCALES if brightest <= full), brightest)


def to_bytes(values: np.ndarray, scale: float) -> np.ndarray:
    """Return the values, of which `scale` is the brightest, as 0 to 255."""
    numbers = values.astype(np.float64).clip(0, scale) * (255 / scale)
    return np.rint(numbers, out=numbers).astype(np.uint8)
