"""Texts in EXIF data: comments, descriptions, and the tags that ComfyUI's savers use."""

import struct
from collections.abc import Iterator

from librehps.media.metadata.texts import LIMIT_BYTES, Embedded

USER_COMMENT = "user comment"
_EXIF_IFD, _USER_COMMENT, _XP_COMMENT = 0x8769, 0x9286, 0x9C9C
_DESCRIPTION, _MAKE, _MODEL = 0x010E, 0x010F, 0x0110
_TAGS = (_DESCRIPTION, _MAKE, _MODEL, _EXIF_IFD, _USER_COMMENT, _XP_COMMENT)
# ComfyUI's savers put `prompt:{...}` and `workflow:{...}` into any of these.
_PREFIXED = (_DESCRIPTION, _MAKE, _MODEL)
_CHARSETS = (b"ASCII\0\0\0", b"UNICODE\0", b"\0" * 8)


def exif_texts(exif: bytes) -> Iterator[Embedded]:
    """Yield the texts of EXIF data; a text of unknown encoding once for each that it may be.

    Damaged EXIF data count as no metadata, as for the orientation.
    """
    exif = exif.removeprefix(b"Exif\0\0")
    try:
        order = {b"II": "<", b"MM": ">"}[exif[:2]]
        [first] = struct.unpack_from(f"{order}I", exif, 4)
        main = _entries(exif, order, first)
        pointer = main.pop(_EXIF_IFD, (0, b""))[1]
        inner = _entries(exif, order, *struct.unpack(f"{order}I", pointer)) if pointer else {}
        # Some savers write the comment into the first directory.
        comments = [d[_USER_COMMENT] for d in (inner, main) if _USER_COMMENT in d]
        values = [_value(exif, order, entry) for entry in comments]
        others = {tag: _value(exif, order, main[tag]) for tag in main if tag != _USER_COMMENT}
    except (KeyError, struct.error):
        return
    for tag in _PREFIXED:
        yield from _prefixed(others.get(tag, b""), is_description=tag == _DESCRIPTION)
    for value in values:
        yield from (Embedded(USER_COMMENT, text) for text in _comments(value))
    if _XP_COMMENT in others:
        yield Embedded(USER_COMMENT, others[_XP_COMMENT].decode("utf-16-le", errors="replace"))


def _prefixed(value: bytes, is_description: bool) -> Iterator[Embedded]:
    text = value.decode(errors="replace").rstrip("\0")
    name, colon, rest = text.partition(":")
    if colon and name.lower() in ("prompt", "workflow"):
        yield Embedded(name.lower(), rest)
    elif is_description and text:
        yield Embedded("description", text)


def _entries(exif: bytes, order: str, at: int) -> dict[int, tuple[int, bytes]]:
    """Return tag -> (count, four bytes of value or offset) of one TIFF 6.0 directory."""
    [count] = struct.unpack_from(f"{order}H", exif, at)
    found: dict[int, tuple[int, bytes]] = {}
    for index in range(count):
        tag, _, length, value = struct.unpack_from(f"{order}HHI4s", exif, at + 2 + 12 * index)
        if tag in _TAGS:
            found[tag] = (length, value)
    return found


def _value(exif: bytes, order: str, entry: tuple[int, bytes]) -> bytes:
    """Return the bytes of one entry with a one-byte type; Pillow would read all entries.

    Several entries may be the same large part of the block.
    """
    length, value = entry
    if length <= 4:
        return value[:length]
    [at] = struct.unpack(f"{order}I", value)
    return exif[at : at + min(length, LIMIT_BYTES)]


def _comments(comment: bytes) -> Iterator[str]:
    """Yield the possible texts of a user comment: EXIF names the charset, not the byte order."""
    is_named = comment[:8] in _CHARSETS
    body = comment[8:] if is_named else comment
    encodings = ("utf-16-be", "utf-16-le") if comment[:8] == b"UNICODE\0" else ()
    for encoding in (*encodings, "utf-8"):
        yield body.decode(encoding, errors="replace").removeprefix("\ufeff").rstrip("\0")
