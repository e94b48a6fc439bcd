"""A bound on the parts of an image file: readers go through them one by one, in Python.

A file of a few megabytes can have a million empty chunks, or tags that share the same bytes.
"""

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import accumulate

from librehps.errors import UnsupportedMediaError
from librehps.media import gif, png, webp

_SCAN, _APP1, _EXIF = 0xDA, 0xE1, b"Exif\0\0"
_LENGTHLESS = frozenset((0xC8, *range(0xD0, 0xDA), *range(0xF0, 0xFE)))
_JPEG_MARKERS = frozenset((*range(0xC0, 0xE0), *range(0xE0, 0xFF)))
# Pillow needs this many times as long for a marker as for a byte of padding.
_MARKER_WEIGHT, _JUNK_BYTES = 16, 8
_TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4,
               16: 8, 17: 8, 18: 8}  # fmt: skip
_TEXT_TYPES, _RATIO_TYPES, _RATIO_WEIGHT = (1, 2, 6, 7), (5, 10), 16
# A tag counts 1; all bytes of the file once as tags count this; and so many values count 1.
_FILE_WEIGHT, _VALUES = 1024, 128
_MAX_TAG_WEIGHT = 4096


@dataclass(frozen=True)
class _Format:
    """A format's name for its parts, their weights, and the most: `base`, and 1 for each `size`."""

    part: str
    weights: Callable[[bytes], Iterator[int]]
    base: int
    size: int


def check_blocks(content: bytes, name: str) -> None:
    """Raise UnsupportedMediaError for an image of far more parts than any program writes."""
    found = _format_of(content)
    if found is None:
        return
    most = found.base + len(content) // found.size
    if any(total > most for total in accumulate(found.weights(content))):
        raise UnsupportedMediaError(
            f"{name}: too many {found.part} for an image of {len(content)} bytes. "
            "Save it again without its metadata"
        )


def _format_of(content: bytes) -> _Format | None:
    if content.startswith(png.SIGNATURE):
        return PNG
    if content.startswith(b"\xff\xd8\xff"):
        return JPEG
    if content.startswith(gif.MAGIC):
        return GIF
    if webp.is_webp(content[:12]):
        return WEBP
    return TIFF if content.startswith(_TIFF_MAGIC) else None


def _png_weights(content: bytes) -> Iterator[int]:
    for name, start, end in png.chunks(content):
        yield 1
        if name == b"eXIf":
            yield _exif_weight(content[start + 8 : end - 4], PNG.base)


def _gif_weights(content: bytes) -> Iterator[int]:
    is_comment = False
    for kind, at in gif.blocks(content):
        if kind == gif.EXTENSION:
            is_comment = content[at + 1 : at + 2] == gif.COMMENT
        # Some versions of Pillow copy the whole comment for each of its blocks.
        yield 5 if is_comment and kind == gif.DATA else 1


def _webp_weights(content: bytes) -> Iterator[int]:
    for name, start, end in webp.parts(content):
        yield 1
        if name == b"EXIF":
            yield _exif_weight(content[start + 8 : end], WEBP.base)


def _jpeg_weights(content: bytes) -> Iterator[int]:
    """Yield the weights of what Pillow reads before the first scan; libjpeg reads the rest."""
    at, exif = 2, list[bytes]()
    while at + 1 < len(content):
        code = content[at + 1]
        if content[at] != 0xFF:
            end = content.find(b"\xff", at)
            end = len(content) if end < 0 else end
            yield 1 + (end - at) // _JUNK_BYTES
            at = end
        elif code in (0, 0xFF):
            yield 1
            at += 1 if code else 2
        elif code == _SCAN or code not in _JPEG_MARKERS:
            break
        else:
            yield _MARKER_WEIGHT
            at += 2
            if code in _LENGTHLESS:
                continue
            end = at + int.from_bytes(content[at : at + 2], "big")
            if code == _APP1 and content[at + 2 : at + 8] == _EXIF:
                exif.append(content[at + 8 : end])
            at = max(end, at + 2)
    yield _exif_weight(b"".join(exif), JPEG.base)


def _exif_weight(exif: bytes, base: int) -> int:
    """Return the weight of EXIF data, of which `base` are too many."""
    for _ in range(2):
        exif = exif.removeprefix(_EXIF)
    most = next((total for total in accumulate(_tag_weights(exif)) if total > _MAX_TAG_WEIGHT), 0)
    return 2 * most * base // _MAX_TAG_WEIGHT


def _tag_weights(content: bytes) -> Iterator[int]:
    """Yield the weights of the tags in the first directory of a TIFF, or of EXIF data."""
    order = {b"I": "<", b"M": ">"}.get(content[:1])
    if order is None:
        return
    is_big = b"+" in content[2:4]
    pointer, count, tag, word = ("Q", "Q", "HHQQ", 8) if is_big else ("I", "H", "HHII", 4)
    try:
        [at] = struct.unpack_from(order + pointer, content, word)
        [tags] = struct.unpack_from(order + count, content, at)
        at += struct.calcsize(count)
        for index in range(tags):
            entry = at + index * (20 if is_big else 12)
            _, kind, values, place = struct.unpack_from(order + tag, content, entry)
            each = _TYPE_BYTES.get(kind, 0)
            size = each * values
            # Pillow reads no values that the file does not have.
            size = min(size, max(0, len(content) - place)) if size > word else 0
            yield 1 + size * _FILE_WEIGHT // len(content)
            if size and kind not in _TEXT_TYPES:
                yield size // each // _VALUES * (_RATIO_WEIGHT if kind in _RATIO_TYPES else 1)
    except (struct.error, OverflowError):
        # The directory ends, or starts, outside the file.
        return


PNG = _Format("chunks", _png_weights, 20_000, 1024)
JPEG = _Format("markers or bytes between them", _jpeg_weights, 32_768, 2048)
GIF = _Format("blocks", _gif_weights, 20_000, 64)
WEBP = _Format("chunks", _webp_weights, 20_000, 1024)
TIFF = _Format("tags or values of tags", _tag_weights, _MAX_TAG_WEIGHT, 1 << 40)
