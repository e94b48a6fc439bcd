"""PNG chunks: what a picture needs of a damaged file."""

import zlib
from collections.abc import Iterator

SIGNATURE = b"\x89PNG\r\n\x1a\n"
# Ancillary chunks that pixels depend on; all others are notes about the picture.
_PIXEL_CHUNKS = frozenset(
    (b"tRNS", b"iCCP", b"sRGB", b"gAMA", b"cHRM", b"cICP", b"eXIf", b"acTL", b"fcTL", b"fdAT")
)
_COMPRESSED_TEXT = (b"zTXt", b"iTXt")


def chunks(content: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield (name, start, end) of each whole chunk, IEND the last; start is that of its length."""
    at = len(SIGNATURE)
    while at + 12 <= len(content):
        end = at + 12 + int.from_bytes(content[at : at + 4], "big")
        if end > len(content):
            return
        name = content[at + 4 : at + 8]
        yield name, at, end
        if name == b"IEND":
            return
        at = end


def has_late_text(content: bytes) -> bool:
    """Return whether compressed text comes after the pixels, where it is read with them."""
    is_late = False
    for name, _, _ in chunks(content):
        if is_late and name in _COMPRESSED_TEXT:
            return True
        is_late = is_late or name == b"IDAT"
    return False


def essentials(content: bytes) -> bytes:
    """Return the file without its text, and without ancillary chunks whose checksum is wrong.

    A decoder may skip ancillary chunks (PNG specification, section 13.2); critical chunks, and
    what is cut short, stay for the decoder to refuse.
    """
    parts, last = [content[: len(SIGNATURE)]], len(SIGNATURE)
    for name, start, end in chunks(content):
        is_ancillary = bool(name[0] & 0x20)
        if not is_ancillary or (name in _PIXEL_CHUNKS and _is_intact(content[start:end])):
            parts.append(content[start:end])
        last = end
    return b"".join([*parts, content[last:]])


def _is_intact(chunk: bytes) -> bool:
    return zlib.crc32(chunk[4:-4]) == int.from_bytes(chunk[-4:], "big")
