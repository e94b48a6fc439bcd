"""Detection of a media file's format by its name and first bytes, before any decoder reads it."""

import shlex
import stat
from pathlib import Path
from typing import BinaryIO

from librehps.errors import (
    BrokenMediaError,
    EmptyFileError,
    MediaError,
    UnsupportedMediaError,
)
from librehps.media.faults import media_error
from librehps.storage.faults import fault
from librehps.types import Kind

IMAGE_SUFFIXES = frozenset(
    (".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".tif", ".tiff", ".gif",
     ".avif", ".heic", ".heif", ".hif", ".jxl")
)  # fmt: skip
VIDEO_SUFFIXES = frozenset((".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi"))
HEAD_BYTES = 64
UNKNOWN_SIZE = 0xFFFFFFFF
# The boxes or elements of a clip are read one by one; most have some hundred bytes.
MIN_BLOCKS, BLOCK_BYTES = 20_000, 32
_MP4_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")
# Boxes that hold frames; a truncated box of any other type loses none.
_MP4_BODY = (b"moov", b"mdat", b"moof")
# Images in the box format of MP4, and their brands; a brand of any codec is explained by others.
AVIF, HEIC, JXL = "AVIF", "HEIC", "JPEG XL"
_AVIF_BRANDS = frozenset((b"avif", b"avis"))
_HEIC_BRANDS = frozenset((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"))
_ANY_BRANDS = frozenset((b"mif1", b"msf1", b"miaf"))
_JXL_MAGIC = (b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n")
_TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_EBML = b"\x1a\x45\xdf\xa3"
_SEGMENT, _CLUSTER = b"\x18\x53\x80\x67", b"\x1f\x43\xb6\x75"
_FOREIGN = (
    (b"%!PS", "an EPS or PostScript file"),
    (b"\xc5\xd0\xd3\xc6", "an EPS file"),
    (b"%PDF", "a PDF"),
    (b"<svg", "an SVG"),
    (b"<?xml", "XML"),
    (b"<!DOCTYPE", "a web page"),
    (b"<html", "a web page"),
    (b"#EXTM3U", "a playlist"),
    (b"ffconcat", "a playlist"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"PK\x03\x04", "a zip archive"),
)


def kind_of(path: Path) -> Kind:
    """Return the kind of a file by its suffix, else by its first bytes; "image" if unknown."""
    suffix = path.suffix.lower()
    if suffix in VIDEO_SUFFIXES:
        return "video"
    if suffix in IMAGE_SUFFIXES:
        return "image"
    try:
        return "video" if container_of(read_bytes(path, HEAD_BYTES)) else "image"
    except MediaError:
        # The decoder reports the error when it opens the file.
        return "image"


def read_bytes(path: Path, limit: int = -1) -> bytes:
    """Return the content of a regular file, at most `limit` bytes; raises MediaError."""
    try:
        # Checked before opening: opening a pipe or a device may block for ever.
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            what = "a folder" if stat.S_ISDIR(mode) else "not a regular file"
            raise UnsupportedMediaError(f"{path} is {what}")
        with path.open("rb") as file:
            content = file.read(limit)
    except (OSError, ValueError) as error:
        raise media_error(fault(path, error)) from error
    if not content:
        raise EmptyFileError(f"{path} is empty (zero bytes)")
    return content


def container_of(head: bytes) -> str | None:
    """Return FFmpeg's name of the video container that begins with `head`; None if unknown."""
    if head[4:8] in _MP4_BOXES:
        return None if still_format(head) else "mov"
    if head.startswith(_EBML):
        return "matroska"
    if head.startswith(b"RIFF") and head[8:12] == b"AVI ":
        return "avi"
    return None


def still_format(head: bytes) -> str | None:
    """Return AVIF, HEIC or JPEG XL for a file that begins with `head`; None for all others."""
    if head.startswith(_JXL_MAGIC):
        return JXL
    if head[4:8] != b"ftyp":
        return None
    end = min(int.from_bytes(head[:4], "big"), HEAD_BYTES)
    brands = {head[at : at + 4] for at in range(16, end, 4)}
    brands = brands | {head[8:12]} if head[8:12] in _ANY_BRANDS else {head[8:12]}
    if brands & _AVIF_BRANDS:
        return AVIF
    return HEIC if brands & (_HEIC_BRANDS | _ANY_BRANDS) else None


def is_parsed_by_library(content: bytes) -> bool:
    """Return whether a C library parses all of the image's structure, or may (libtiff).

    Other images are opened by Python code that reads a short header.
    """
    return content.startswith(_TIFF_MAGIC) or still_format(content[:HEAD_BYTES]) is not None


def resembles(head: bytes) -> str | None:
    """Return a name for the format of an unsupported file by its first bytes; None if unknown."""
    for magic, name in _FOREIGN:
        if head.lstrip()[: len(magic)].lower() == magic.lower():
            return name
    if image_format := still_format(head):
        return f"an image in {image_format}"
    if container_of(head):
        return "a video"
    text = head[:HEAD_BYTES]
    return "text" if text and all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in text) else None


def check_video_file(path: Path) -> str:
    """Return the container of a video file; raises MediaError if unsupported or truncated."""
    head = read_bytes(path, HEAD_BYTES)
    container = container_of(head)
    if container is None:
        seen = resembles(head) or "not a supported video"
        reason = f"{path} is {seen}: expected MP4/MOV, Matroska/WebM or AVI"
        if not resembles(head):
            command = f"ffmpeg -i {shlex.quote(str(path))} -c copy NEW.mp4"
            reason += f". If a player shows it, convert it: {command}"
        raise UnsupportedMediaError(reason)
    size = path.stat().st_size
    with path.open("rb") as file:
        try:
            needed = _declared_size(file, container, size)
            is_whole = container != "matroska" or _chains(file, min(needed or size, size))
        except UnsupportedMediaError as error:
            raise UnsupportedMediaError(f"{path}: {error}") from error
    if not is_whole:
        raise BrokenMediaError(f"{path} is damaged: zeros in place of its blocks")
    if needed > size:
        raise BrokenMediaError(f"{path} is truncated: {size} of {needed} bytes")
    return container


def _declared_size(file: BinaryIO, container: str, size: int) -> int:
    """Return the file size that the container's headers declare, 0 if unknown.

    A decoder may accept a truncated file silently.
    """
    if container == "avi":
        declared = int.from_bytes(file.read(8)[4:], "little")
        # A recording into a pipe cannot come back to write its size.
        return 0 if declared in (0, UNKNOWN_SIZE) else 8 + declared
    if container == "matroska":
        return _matroska_size(file.read(1024))
    at = count = 0
    while at + 8 <= size:
        count += 1
        _check_blocks(count, size)
        file.seek(at)
        header = file.read(16)
        length = int.from_bytes(header[:4], "big")
        if length == 1:
            length = int.from_bytes(header[8:16], "big")
        # 0 means "to the end of the file"; the decoder rejects other values below 8.
        if length < 8:
            return size
        at += length
        if at > size:
            return at if header[4:8] in _MP4_BODY else size
    return size


def _check_blocks(count: int, size: int) -> None:
    if count > MIN_BLOCKS + size // BLOCK_BYTES:
        raise UnsupportedMediaError(f"too many boxes or elements for a video of {size} bytes")


def _matroska_size(head: bytes) -> int:
    """Return the end of the segment by its size field; 0 if unknown, as in live recordings."""
    at = 4
    length, width = _ebml_number(head[at:])
    at += width + length
    if head[at : at + 4] != _SEGMENT:
        return 0
    at += 4
    length, width = _ebml_number(head[at:])
    unknown = width and length == (1 << (7 * width)) - 1
    return 0 if unknown or not width else at + width + length


def _ebml_number(data: bytes) -> tuple[int, int]:
    """Return (value, length in bytes) of an EBML variable-length integer (RFC 8794, section 4)."""
    if not data or not data[0]:
        return 0, 0
    width = 9 - data[0].bit_length()
    marked = int.from_bytes(data[:width], "big")
    return marked & ((1 << (7 * width)) - 1), width


def _chains(file: BinaryIO, size: int) -> bool:
    """Return whether the elements of a Matroska file are contiguous up to its end.

    FFmpeg treats a tail of zeros, as in broken downloads, as the end of the file.
    """
    at = count = 0
    while at < size:
        count += 1
        _check_blocks(count, size)
        file.seek(at)
        head = file.read(12)
        if not head[0]:
            return False
        # An EBML id encodes its length as a number does, but keeps the marker bit.
        width = 9 - head[0].bit_length()
        length, taken = _ebml_number(head[width:])
        at += width + taken
        if head[:width] not in (_SEGMENT, _CLUSTER):
            at += length
    return True
