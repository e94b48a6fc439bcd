"""Text chunks of a PNG, before and after its pixels, without decoding the pixels."""

import struct
import zlib
from collections.abc import Collection, Iterator
from typing import BinaryIO

from librehps.media.metadata.texts import LIMIT_BYTES, Embedded

SIGNATURE = b"\x89PNG\r\n\x1a\n"
EXIF = "exif"
_TEXTS = (b"tEXt", b"zTXt", b"iTXt", b"comf")


def png_texts(file: BinaryIO, places: Collection[str]) -> Iterator[Embedded]:
    """Yield the texts of a PNG with these keywords; EXIF data as Latin-1 text of `exif`.

    Checksums are not compared: viewers open a file whose text was edited by hand.
    """
    file.seek(len(SIGNATURE))
    while len(header := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", header)
        if kind in _TEXTS or kind == b"eXIf":
            body = file.read(min(length, LIMIT_BYTES))
            file.seek(length - len(body), 1)
            if kind == b"eXIf":
                yield Embedded(EXIF, body.decode("latin-1"))
            elif text := _text(kind, body, places):
                yield text
        else:
            file.seek(length, 1)
        file.seek(4, 1)


def has_alpha(file: BinaryIO) -> bool:
    """Return whether the header of a PNG names a colour type with an alpha channel."""
    file.seek(0)
    head = file.read(26)
    return len(head) == 26 and head[25] in (4, 6)


def _text(kind: bytes, body: bytes, places: Collection[str]) -> Embedded | None:
    keyword, found, rest = body.partition(b"\0")
    place = keyword.decode("latin-1").lower()
    if not found or place not in places:
        return None
    if kind == b"zTXt":
        rest = _inflated(rest[1:])
    elif kind == b"iTXt":
        is_compressed, rest = rest[:1] == b"\1", rest[2:]
        # A language and a translated keyword stand before the text.
        rest = rest.split(b"\0", 2)[-1]
        rest = _inflated(rest) if is_compressed else rest
    return Embedded(place, _decoded(rest))


def _inflated(data: bytes) -> bytes:
    try:
        return zlib.decompressobj().decompress(data, LIMIT_BYTES)
    except zlib.error:
        return b""


def _decoded(data: bytes) -> str:
    """Return text as UTF-8, which many programs write into Latin-1 chunks, else as Latin-1."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("latin-1")
