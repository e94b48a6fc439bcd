"""Image files without their metadata, which may tell raters the prompt or the generator."""

import re
import struct
from collections.abc import Iterator
from itertools import pairwise

from librehps.errors import BrokenMediaError
from librehps.media import gif, png, webp
from librehps.media.webp import CUT

# Parts that browsers need to show the pixels; all others are left out.
PNG_CHUNKS = frozenset(
    (b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"cICP",
     b"sBIT", b"bKGD", b"pHYs", b"acTL", b"fcTL", b"fdAT")
)  # fmt: skip
WEBP_CHUNKS = frozenset((b"VP8X", b"VP8 ", b"VP8L", b"ALPH", b"ICCP", b"ANIM", b"ANMF"))
# First bytes of the application segments that tell how to read the colours of a JPEG.
JPEG_SEGMENTS = {0xE0: b"JFIF\0", 0xE2: b"ICC_PROFILE\0", 0xEE: b"Adobe"}
JPEG_START, JPEG_END = b"\xff\xd8", b"\xff\xd9"
# Frames, tables and scans.
JPEG_PIXELS = frozenset((*range(0xC0, 0xD0), *range(0xDA, 0xE0)))
JPEG_APPS, JPEG_COMMENT, JPEG_SCAN, FILL = range(0xE0, 0xF0), 0xFE, 0xDA, 0xFF
# The next marker after the data of a scan, which hold stuffed zeros and restart markers.
AFTER_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
GIF_LOOP = b"\x21\xff\x0bNETSCAPE2.0"


def without_metadata(content: bytes, image_format: str | None) -> bytes | None:
    """Return a PNG, JPEG, WebP or GIF file of the same pixels, without metadata.

    None for another format, and for a file whose parts cannot be told apart.
    """
    readers = {"PNG": _png, "JPEG": _jpeg, "MPO": _jpeg, "WEBP": _webp, "GIF": _gif}
    parts = readers.get(image_format or "")
    try:
        return None if parts is None else b"".join(parts(content))
    except BrokenMediaError:
        return None


def _png(content: bytes) -> Iterator[bytes]:
    yield png.SIGNATURE
    name = b""
    for name, start, end in png.chunks(content):
        if name in PNG_CHUNKS:
            yield content[start:end]
    if name != b"IEND":
        raise BrokenMediaError(CUT)


def _jpeg(content: bytes) -> Iterator[bytes]:
    """Yield the parts up to the end of the first picture, which others may follow."""
    yield JPEG_START
    at = len(JPEG_START)
    while content[at : at + 2] != JPEG_END:
        head = content[at : at + 4]
        if len(head) < 4 or head[0] != FILL:
            raise BrokenMediaError(CUT)
        marker = head[1]
        if marker == FILL:
            at += 1
            continue
        end = at + 2 + int.from_bytes(head[2:], "big")
        if marker == JPEG_SCAN:
            found = AFTER_SCAN.search(content, end)
            end = found.start() if found else len(content)
        if marker in JPEG_PIXELS or _is_color(marker, content[at + 4 : at + 20]):
            yield content[at:end]
        at = end
    yield JPEG_END


def _is_color(marker: int, body: bytes) -> bool:
    if marker not in JPEG_APPS and marker != JPEG_COMMENT:
        raise BrokenMediaError(CUT)
    head = JPEG_SEGMENTS.get(marker)
    return head is not None and body.startswith(head)


def _webp(content: bytes) -> Iterator[bytes]:
    kept = list[bytes]()
    for name, start, end in webp.chunks(content):
        part = content[start:end]
        if name == b"VP8X":
            part = part[:8] + bytes((part[8] & ~(webp.EXIF_FLAG | webp.XMP_FLAG),)) + part[9:]
        if name in WEBP_CHUNKS:
            kept.append(part)
    size = len(b"WEBP") + sum(map(len, kept))
    yield b"RIFF" + struct.pack("<I", size) + b"WEBP"
    yield from kept


def _gif(content: bytes) -> Iterator[bytes]:
    blocks = [one for one in gif.blocks(content) if one[0] != gif.DATA]
    if not blocks or blocks[-1][0] != gif.TRAILER:
        raise BrokenMediaError(CUT)
    yield content[: blocks[0][1]]
    for (kind, start), (_, end) in pairwise(blocks):
        is_timing = content[start + 1 : start + 2] == gif.CONTROL
        if kind == gif.IMAGE or is_timing or content.startswith(GIF_LOOP, start):
            yield content[start:end]
    yield bytes((gif.TRAILER,))
