"""WebP chunks, as RIFF has them (RFC 9649, section 2.3)."""

from collections.abc import Iterator

from librehps.errors import BrokenMediaError

CUT = "it is damaged or cut short"
# Flags in the first byte of VP8X that announce metadata.
EXIF_FLAG, XMP_FLAG = 0x08, 0x04


def end_of(content: bytes) -> int:
    """Return the size of the file that its header declares."""
    return int.from_bytes(content[4:8], "little") + 8


def is_webp(head: bytes) -> bool:
    """Return whether a file that begins with these bytes is WebP."""
    return head[:4] == b"RIFF" and head[8:12] == b"WEBP"


def parts(content: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield (name, start, end) of each chunk, with its padding; the last may end after the file."""
    at = 12
    while at + 8 <= len(content):
        size = int.from_bytes(content[at + 4 : at + 8], "little")
        end = at + 8 + size + size % 2
        yield content[at : at + 4], at, end
        at = end


def chunks(content: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield the parts of the declared size; raises BrokenMediaError if the file is truncated."""
    last = end_of(content)
    if last > len(content) or last < 20:
        raise BrokenMediaError(CUT)
    for name, start, end in parts(content[:last]):
        if end > last:
            raise BrokenMediaError(CUT)
        yield name, start, end
