"""WebP chunks, as RIFF has them (RFC 9649, section 2.3)."""

from collections.abc import Iterator

from librehps.errors import BrokenMediaError

CUT = "it is damaged or cut short"
# Flags in the first byte of VP8X that announce metadata.
EXIF_FLAG, XMP_FLAG = 0x08, 0x04


def end_of(content: bytes) -> int:
    """Return the size of the file that its header declares."""
    return int.from_bytes(content[4:8], "little") + 8


def chunks(content: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield (name, start, end) of each chunk, with its padding; raises BrokenMediaError."""
    at, last = 12, end_of(content)
    if last > len(content) or last < 20:
        raise BrokenMediaError(CUT)
    while at + 8 <= last:
        size = int.from_bytes(content[at + 4 : at + 8], "little")
        end = at + 8 + size + size % 2
        if end > last:
            raise BrokenMediaError(CUT)
        yield content[at : at + 4], at, end
        at = end
