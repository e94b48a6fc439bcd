"""How long each frame of an animated image is shown: GIF, WebP, APNG and AVIF."""

from collections.abc import Iterator
from itertools import islice

from librehps.errors import BrokenMediaError, MediaError
from librehps.media import gif, png, webp
from librehps.media.blocks import check_blocks
from librehps.media.containers import AVIF, HEAD_BYTES, still_format

# Browsers show a frame for this long if it asks for less than MIN_MS.
DEFAULT_MS, MIN_MS = 100.0, 11.0
# Where a fcTL chunk of APNG holds its delay: two numbers, numerator and denominator of seconds.
DELAY_OFFSET = 20


def is_animated(content: bytes) -> bool:
    """Return whether encoded bytes are an image of more than one frame."""
    try:
        check_blocks(content, "the image")
        if still_format(content[:HEAD_BYTES]) == AVIF:
            return _frames_of_avif(content) > 1
        return len(list(islice(durations(content), 2))) > 1
    except MediaError:
        # The decoder reports the error when it opens the media.
        return False


def may_be_animated(head: bytes) -> bool:
    """Return whether a file that begins with these bytes has a format that can be animated."""
    is_known = webp.is_webp(head) or head.startswith((*gif.MAGIC, png.SIGNATURE))
    return is_known or still_format(head) == AVIF


def durations(content: bytes, name: str = "the image") -> Iterator[float]:
    """Yield how long each frame of an animated image is shown, in ms; nothing for others.

    Frames of AVIF are decoded on the way. Raises MediaError for a damaged file.
    """
    head = content[:HEAD_BYTES]
    if head.startswith(png.SIGNATURE):
        found = _of_png(content)
    elif head.startswith(gif.MAGIC):
        found = _of_gif(content, name)
    elif webp.is_webp(head) and head[12:16] == b"VP8X":
        found = _of_webp(content)
    elif still_format(head) == AVIF:
        found = _of_avif(content, name)
    else:
        return
    yield from (each if each >= MIN_MS else DEFAULT_MS for each in found)


def _of_png(content: bytes) -> Iterator[float]:
    is_animated = False
    for name, start, _ in png.chunks(content):
        if name == b"acTL":
            is_animated = True
        elif name == b"IDAT" and not is_animated:
            return
        elif name == b"fcTL" and is_animated:
            at = start + 8 + DELAY_OFFSET
            delay, unit = (int.from_bytes(content[n : n + 2], "big") for n in (at, at + 2))
            yield 1000 * delay / (unit or 100)


def _of_gif(content: bytes, name: str) -> Iterator[float]:
    """Yield the delays of GIF images (GIF89a, sections 20 and 23).

    Raises BrokenMediaError after the last image of a file without its end.
    """
    delay = 0.0
    for kind, at in gif.blocks(content):
        if kind == gif.IMAGE:
            yield delay
            delay = 0.0
        elif kind == gif.EXTENSION and content[at + 1 : at + 2] == gif.CONTROL:
            delay = 10.0 * int.from_bytes(content[at + 4 : at + 6], "little")
        elif kind == gif.TRAILER:
            return
    raise BrokenMediaError(f"{name} is damaged: truncated before the end of its frames")


def _of_webp(content: bytes) -> Iterator[float]:
    for name, at, _ in webp.parts(content):
        if name == b"ANMF":
            yield float(int.from_bytes(content[at + 20 : at + 23], "little"))


def _of_avif(content: bytes, name: str) -> Iterator[float]:
    if content[8:12] != b"avis":
        return
    # Imported where it is needed: most media are read without Pillow.
    from librehps.media.image_formats import damage_named, open_image

    image = open_image(content, name)
    for at in range(getattr(image, "n_frames", 1)):
        with damage_named(f"{name}: frame {at}"):
            image.seek(at)
            image.load()
        yield float(image.info.get("duration", 0))


def _frames_of_avif(content: bytes) -> int:
    """Return the number of frames, which takes no decoding, unlike their durations."""
    if content[8:12] != b"avis":
        return 1
    from librehps.media.image_formats import open_image

    return int(getattr(open_image(content, "the image"), "n_frames", 1))
