"""Headers of encoded images: the number of pixels, and the memory that decoding will take."""

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, replace
from io import BytesIO
from typing import Any

from PIL import Image, UnidentifiedImageError

from librehps.errors import DecompressionBombError, MediaError
from librehps.media import deep_tiff
from librehps.media.blocks import check_blocks
from librehps.media.containers import JXL, still_format
from librehps.media.image_formats import damage_named, open_image
from librehps.media.rgb import WITH_ALPHA, stored

# Bytes for each pixel at the peak of `read_image` and `planes`, measured at 64 megapixels: Pillow's
# image, copies of it, and the result (3). A copy is made for a profile, and for turned pixels.
RGB_BYTES, ALPHA_BYTES, WIDE_BYTES, COPY_BYTES = 8, 14, 13, 4
MODE_BYTES = {"1": 10, "L": 10, "P": 10, "CMYK": 12, "LAB": 12, "YCbCr": 12}
# Beside these: one transparent colour of wide samples, and the coefficients of all of a JPEG.
KEYED_BYTES, PROGRESSIVE_BYTES = 12, 8
# What the library of a format holds; others have not been measured.
LIBRARY_BYTES = {"PNG": 0, "JPEG": 0, "BMP": 0, "TIFF": 0, "GIF": 4, "WEBP": 9, "AVIF": 8}
OTHER_LIBRARY_BYTES, JXL_BYTES = 16, 64
# Encoders write about ten scans of a progressive JPEG, and each scan passes over all pixels.
JPEG_MAGIC, JPEG_SCAN, MAX_SCANS = b"\xff\xd8\xff", b"\xff\xda", 100


@dataclass(frozen=True)
class Header:
    """The size of an image, or of one tile if that is larger, and estimated bytes for a pixel.

    `is_slow`: decoding may take far longer than that of other images of this size.
    """

    width: int
    height: int
    pixel_bytes: int
    is_slow: bool = False


def read_header(content: bytes, name: str) -> Header | None:
    """Return the header of an image; None if it is damaged, which the decoder then reports.

    Raises DecompressionBombError for an image of more pixels than Pillow opens.
    """
    try:
        with damage_named(name):
            if still_format(content) == JXL:
                return _of_jxl(content)
            if content.startswith(deep_tiff.MAGIC):
                check_blocks(content, name)
                return _of_tiff(content, name)
            header = _of_opened(open_image(content, name))
            is_slow = content[:3] == JPEG_MAGIC and content.count(JPEG_SCAN) > MAX_SCANS
            return replace(header, is_slow=is_slow)
    except DecompressionBombError:
        raise
    except MediaError:
        return None


def _of_opened(image: Image.Image) -> Header:
    with image:
        return Header(*image.size, _pixel_bytes(image))


def _of_jxl(content: bytes) -> Header | None:
    if importlib.util.find_spec("pylibjxl") is None:
        return None
    import pylibjxl

    facts = pylibjxl.probe(content)
    return Header(facts["width"], facts["height"], JXL_BYTES)


def _of_tiff(content: bytes, name: str) -> Header:
    """Return the header of a TIFF, whose reader of deep samples would decode it when opened."""
    try:
        image: Any = Image.open(BytesIO(content), formats=("TIFF",))
        if not deep_tiff.is_misread(image):
            return _of_largest(image.tag_v2, _of_opened(image))
    except (UnidentifiedImageError, ValueError, SyntaxError):
        # Read by `deep_tiff`, or by no reader.
        pass
    return _of_largest(deep_tiff.tags_of(content, name), Header(*deep_tiff.header(content, name)))


def _of_largest(tags: Mapping[int, Any], header: Header) -> Header:
    """Return the header with the size of a tile, if that is larger: tiles are decoded whole."""
    sides = (tags.get(tag, 0) for tag in (deep_tiff.TILE_WIDTH, deep_tiff.TILE_HEIGHT))
    width, height = (side if isinstance(side, int) else 0 for side in sides)
    if width * height <= header.width * header.height:
        return header
    return replace(header, width=width, height=height)


def _pixel_bytes(image: Image.Image) -> int:
    """Return the estimated bytes to decode a pixel, from the header alone."""
    info, mode = image.info, image.mode
    has_alpha = mode in WITH_ALPHA or "transparency" in info
    is_wide = mode.startswith(("I", "F")) or stored(image).is_deep
    taken = ALPHA_BYTES if has_alpha else WIDE_BYTES if is_wide else MODE_BYTES.get(mode, RGB_BYTES)
    if is_wide and has_alpha:
        taken += KEYED_BYTES
    if "progressive" in info:
        taken += PROGRESSIVE_BYTES
    taken += COPY_BYTES * (("icc_profile" in info) + (bool(info.get("exif"))))
    return taken + LIBRARY_BYTES.get(image.format or "", OTHER_LIBRARY_BYTES)
