"""Texts in the metadata of an image file, by format, without decoding pixels."""

from collections.abc import Callable, Collection, Iterator
from functools import partial
from io import BytesIO
from typing import BinaryIO

from PIL import Image, features

from librehps.errors import MediaError, PromptError
from librehps.media.blocks import check_blocks
from librehps.media.containers import AVIF, HEAD_BYTES, still_format
from librehps.media.image_formats import DAMAGE_ERRORS
from librehps.media.metadata.exif import exif_texts
from librehps.media.metadata.png import EXIF, SIGNATURE, png_texts
from librehps.media.metadata.texts import LIMIT_BYTES, Embedded
from librehps.media.webp import is_webp

_EXIF_HEAD = b"Exif\0\0"
_APP1, _COMMENT, _START_OF_SCAN = 0xE1, 0xFE, 0xDA
MAX_EXIF_BYTES = 1 << 26


def format_of(file: BinaryIO) -> str:
    """Return the format by the first bytes: png, jpeg, webp, tiff, gif, avif; else empty."""
    file.seek(0)
    head = file.read(HEAD_BYTES)
    if head.startswith(SIGNATURE):
        return "png"
    if head.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if is_webp(head):
        return "webp"
    if head.startswith((b"II*\0", b"MM\0*")):
        return "tiff"
    if head.startswith(b"GIF8"):
        return "gif"
    return "avif" if still_format(head) == AVIF else ""


def image_texts(file: BinaryIO, image_format: str, places: Collection[str]) -> list[Embedded]:
    """Return the texts at these places in the metadata of an image file, in the file's order.

    Raises PromptError for more text than a prompt and its settings need.
    """
    readers: dict[str, Callable[[BinaryIO], Iterator[Embedded]]]
    readers = {"png": partial(_png, places=places), "jpeg": _jpeg, "webp": _webp, "tiff": _tiff}
    kept, left = [], LIMIT_BYTES
    for text in readers.get(image_format, _by_pillow)(file):
        if text.place in places:
            kept.append(text)
            left -= len(text.text)
        if left < 0:
            raise PromptError(
                f"the file's metadata have too much text (more than {LIMIT_BYTES} characters)"
            )
    return kept


def _png(file: BinaryIO, places: Collection[str]) -> Iterator[Embedded]:
    for text in png_texts(file, places):
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
    content = file.read()
    formats = ("GIF", "AVIF") if features.check("avif") else ("GIF",)
    try:
        check_blocks(content, "the image")
        with Image.open(BytesIO(content), formats=formats) as image:
            info = dict(image.info)
    except (MediaError, *DAMAGE_ERRORS):
        return
    if isinstance(comment := info.get("comment"), bytes):
        yield Embedded("comment", comment.decode(errors="replace"))
    if isinstance(exif := info.get("exif"), bytes):
        yield from exif_texts(exif)
