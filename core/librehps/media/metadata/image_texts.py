"""Texts in the metadata of an image file, by format, without decoding pixels."""

from collections.abc import Iterator
from typing import BinaryIO

from PIL import Image, features

from librehps.media.image_formats import DAMAGE_ERRORS
from librehps.media.metadata.exif import exif_texts
from librehps.media.metadata.png import EXIF, SIGNATURE, png_texts
from librehps.media.metadata.texts import Embedded

_EXIF_HEAD = b"Exif\0\0"
_APP1, _COMMENT, _START_OF_SCAN = 0xE1, 0xFE, 0xDA
MAX_EXIF_BYTES = 1 << 26


def format_of(file: BinaryIO) -> str:
    """Return the format by the first bytes: png, jpeg, webp, tiff, gif, avif; else empty."""
    file.seek(0)
    head = file.read(16)
    if head.startswith(SIGNATURE):
        return "png"
    if head.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "webp"
    if head.startswith((b"II*\0", b"MM\0*")):
        return "tiff"
    if head.startswith(b"GIF8"):
        return "gif"
    return "avif" if head[4:12] in (b"ftypavif", b"ftypavis") else ""


def image_texts(file: BinaryIO, image_format: str) -> list[Embedded]:
    """Return the texts in the metadata of an image file, in the order of the file."""
    readers = {"png": _png, "jpeg": _jpeg, "webp": _webp, "tiff": _tiff}
    return list(readers.get(image_format, _by_pillow)(file))


def _png(file: BinaryIO) -> Iterator[Embedded]:
    for text in png_texts(file):
        if text.place == EXIF:
            yield from exif_texts(text.text.encode("latin-1"))
        else:
            yield text


def _jpeg(file: BinaryIO) -> Iterator[Embedded]:
    file.seek(2)
    while len(head := file.read(4)) == 4 and head[0] == 0xFF and head[1] != _START_OF_SCAN:
        length = int.from_bytes(head[2:], "big") - 2
        if length < 0:
            return
        body = file.read(length)
        if head[1] == _APP1 and body.startswith(_EXIF_HEAD):
            yield from exif_texts(body)
        elif head[1] == _COMMENT:
            yield Embedded("comment", body.decode(errors="replace"))


def _webp(file: BinaryIO) -> Iterator[Embedded]:
    file.seek(12)
    while len(head := file.read(8)) == 8:
        length = int.from_bytes(head[4:], "little")
        if head[:4] == b"EXIF":
            yield from exif_texts(file.read(min(length, MAX_EXIF_BYTES)))
            return
        file.seek(length + length % 2, 1)


def _tiff(file: BinaryIO) -> Iterator[Embedded]:
    file.seek(0)
    yield from exif_texts(file.read(MAX_EXIF_BYTES))


def _by_pillow(file: BinaryIO) -> Iterator[Embedded]:
    """Yield the comment of a GIF and the EXIF texts of an AVIF."""
    file.seek(0)
    formats = ("GIF", "AVIF") if features.check("avif") else ("GIF",)
    try:
        with Image.open(file, formats=formats) as image:
            info = dict(image.info)
    except DAMAGE_ERRORS:
        return
    if isinstance(comment := info.get("comment"), bytes):
        yield Embedded("comment", comment.decode(errors="replace"))
    if isinstance(exif := info.get("exif"), bytes):
        yield from exif_texts(exif)
