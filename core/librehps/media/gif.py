"""GIF blocks: images, extensions, and the data of both (GIF89a, sections 15 to 27)."""

from collections.abc import Iterator

MAGIC = (b"GIF87a", b"GIF89a")
IMAGE, EXTENSION, TRAILER, DATA = 0x2C, 0x21, 0x3B, 0
CONTROL, COMMENT = b"\xf9", b"\xfe"
COLOR_TABLE_FLAG = 0x80


def blocks(content: bytes) -> Iterator[tuple[int, int]]:
    """Yield (kind, start) of each block; DATA for each of its sub-blocks, and for a stray byte.

    The last one is the TRAILER, unless the file is truncated.
    """
    at, size = 13 + _table_bytes(content, 10), len(content)
    while at < size:
        kind = content[at]
        if kind not in (IMAGE, EXTENSION, TRAILER):
            # Pillow skips bytes between blocks too.
            yield DATA, at
            at += 1
            continue
        yield kind, at
        if kind == TRAILER:
            return
        at += 2 if kind == EXTENSION else 11 + _table_bytes(content, at + 9)
        while at < size and content[at]:
            yield DATA, at
            at += 1 + content[at]
        at += 1


def _table_bytes(content: bytes, flags_at: int) -> int:
    """Return the size of the colour table that a GIF's flags declare."""
    flags = content[flags_at] if flags_at < len(content) else 0
    return 3 << (flags & 7) + 1 if flags & COLOR_TABLE_FLAG else 0
