"""The image formats that are read, and the reader of each; other formats are errors."""

import importlib.util
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO

from PIL import Image, UnidentifiedImageError

from librehps.errors import (
    BrokenMediaError,
    DecompressionBombError,
    MediaError,
    UnsupportedMediaError,
)
from librehps.extras import install_hint
from librehps.media import deep_tiff, jxl, png
from librehps.media.blocks import check_blocks
from librehps.media.containers import AVIF, HEIC, JXL, resembles, still_format

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "AVIF")
EXTRA = "formats"
# Pillow's own limit: twice the size at which it warns.
MAX_PIXELS = 2 * 89_478_485
# First bytes of the formats in FORMATS, except AVIF.
_MAGIC = re.compile(
    rb"\x89PNG\r\n\x1a\n|\xff\xd8\xff|RIFF....WEBP|BM|II\*\0|MM\0\*|GIF8[79]a", re.DOTALL
)
# Errors that the readers of these formats raise for damaged files.
DAMAGE_ERRORS = (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError,
                 ArithmeticError, AssertionError, RuntimeError, struct.error, zlib.error,
                 Image.DecompressionBombError)  # fmt: skip


@contextmanager
def damage_named(name: str) -> Iterator[None]:
    """Turn the errors that a reader raises for damaged files into MediaErrors with this name."""
    try:
        yield
    except Image.DecompressionBombError as error:
        found = re.search(r"\((\d+) pixels\)", str(error))
        raise _too_large(name, found[1] if found else str(error), MAX_PIXELS) from error
    except DAMAGE_ERRORS as error:
        raise BrokenMediaError(f"{name} is damaged: {error}") from error


def open_image(content: bytes, name: str, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Return the image with its header read but mostly no pixels; raises MediaError.

    Formats whose reader decodes at once are refused here if they have more than `max_pixels`.
    """
    check_blocks(content, name)
    with damage_named(name):
        try:
            return _opened(content, name, max_pixels)
        except UnidentifiedImageError:
            raise _unidentified(content, name) from None


def _unidentified(content: bytes, name: str) -> MediaError:
    is_known = _MAGIC.match(content) and not resembles(content)
    if is_known or still_format(content) == AVIF:
        return BrokenMediaError(f"{name} is damaged: its header cannot be read")
    return UnsupportedMediaError(
        f"{name} is {resembles(content) or 'not a supported image'}: "
        f"expected {', '.join(FORMATS)}, HEIC or JPEG XL"
    )


def _opened(content: bytes, name: str, max_pixels: int) -> Image.Image:
    reader = READERS.get(still_format(content) or "")
    if reader is not None:
        return reader(content, name, max_pixels)
    if content.startswith(png.SIGNATURE) and png.has_late_text(content):
        # Text that Pillow refuses, as too long, must not cost the pixels before it.
        content = png.essentials(content)
    try:
        image = Image.open(BytesIO(content), formats=FORMATS)
        is_deep = image.format == "TIFF" and deep_tiff.is_misread(image)
        return deep_tiff.open_deep(content, name, max_pixels) if is_deep else image
    except (UnidentifiedImageError, ValueError, SyntaxError):
        if content.startswith(png.SIGNATURE):
            return Image.open(BytesIO(png.essentials(content)), formats=FORMATS)
        if content.startswith(deep_tiff.MAGIC):
            return deep_tiff.open_deep(content, name, max_pixels)
        raise


def check_pixels(width: int, height: int, name: str, max_pixels: int) -> None:
    """Raise DecompressionBombError for an image of more than `max_pixels`."""
    if width * height > max_pixels:
        raise _too_large(name, f"{width} x {height}", max_pixels)


def _too_large(name: str, size: str, max_pixels: int) -> DecompressionBombError:
    return DecompressionBombError(
        f"{name}: too many pixels ({size}; at most {max_pixels}). Scale it down first"
    )


def _open_heic(content: bytes, name: str, max_pixels: int) -> Image.Image:
    _require("pi_heif", HEIC, name)
    from pi_heif import HeifImageFile

    image: Image.Image = HeifImageFile(BytesIO(content))
    return image


def _open_jxl(content: bytes, name: str, max_pixels: int) -> Image.Image:
    _require("pylibjxl", JXL, name)
    import pylibjxl

    if not jxl.is_plain(content):
        raise UnsupportedMediaError(
            f"{name} is an image in {JXL} that is animated or not in sRGB, which is not read. "
            "Convert it first: djxl in.jxl out.png"
        )
    facts = pylibjxl.probe(content)
    check_pixels(facts["width"], facts["height"], name, max_pixels)
    return Image.fromarray(pylibjxl.decode(content))


def _require(module: str, kind: str, name: str) -> None:
    """Raise UnsupportedMediaError, with the remedy, if the format's reader is not installed."""
    if importlib.util.find_spec(module) is None:
        raise UnsupportedMediaError(
            f"{name} is an image in {kind}, which needs the extra `{EXTRA}`. {install_hint(EXTRA)}"
        )


READERS: dict[str, Callable[[bytes, str, int], Image.Image]] = {HEIC: _open_heic, JXL: _open_jxl}
