"""Texts hidden in the lowest bits of an image's alpha channel, as NovelAI writes them."""

import gzip
import zlib
from io import BytesIO
from typing import BinaryIO

import numpy as np
from PIL import Image

from librehps.media.image_formats import DAMAGE_ERRORS
from librehps.media.metadata.texts import MAX_TEXT_CHARS

_PLAIN, _COMPRESSED = b"stealth_pnginfo", b"stealth_pngcomp"
_LENGTH_BYTES = 4


def stealth_text(file: BinaryIO) -> str | None:
    """Return the text in the alpha channel of a PNG or WebP; None if there is none."""
    file.seek(0)
    try:
        with Image.open(file, formats=("PNG", "WEBP")) as image:
            if image.mode != "RGBA":
                return None
            alpha = np.asarray(image.getchannel("A"))
    except (*DAMAGE_ERRORS, MemoryError):
        # The decoder of pixels reports the damage.
        return None
    # One bit a pixel, column by column.
    stored = np.packbits(alpha.T.reshape(-1) & 1).tobytes()
    mark, start = stored[: len(_PLAIN)], len(_PLAIN) + _LENGTH_BYTES
    if mark not in (_PLAIN, _COMPRESSED):
        return None
    bits = int.from_bytes(stored[len(_PLAIN) : start], "big")
    body = stored[start : start + bits // 8]
    try:
        if mark == _COMPRESSED:
            with gzip.open(BytesIO(body)) as packed:
                body = packed.read(4 * MAX_TEXT_CHARS)
        return body.decode()
    except (OSError, EOFError, zlib.error, UnicodeDecodeError):
        return None
