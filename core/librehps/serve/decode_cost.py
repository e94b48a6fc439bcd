"""Estimated memory for decoding an item, from headers."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from librehps.engine.decode import Decoder
from librehps.errors import DecompressionBombError
from librehps.media.containers import is_parsed_by_library
from librehps.media.headers import Header, read_header
from librehps.media.image_formats import MAX_PIXELS
from librehps.media.media import Media
from librehps.media.sampling import sample_indices
from librehps.media.videos import VideoReader
from librehps.types import Kind

# Larger images take so long that they are decoded in processes; 2048 x 2048 are not larger.
MAX_THREAD_PIXELS = 1 << 22
# Bytes for each pixel: a copy as uint8 RGB, and what the resize adds to it.
RGB_BYTES, RESIZE_BYTES = 3, 5
# Bytes for each pixel of a video that its codec holds: reference frames, and one for each thread.
CODEC_BYTES = 64
MEGABYTE = 1_000_000


@dataclass(frozen=True)
class Cost:
    """Memory in bytes: `total`, and `process` of it in the decoder process.

    `is_long`: to be decoded in a process, since it takes long or its reader may be attacked.
    `is_unknown`: a process must read the header first.
    """

    total: int
    process: int = 0
    is_long: bool = False
    is_unknown: bool = False


def needs_process(content: Media, num_frames: int) -> bool:
    """Return whether not even the header of the media may be read in this process."""
    if content.is_encoded:
        return is_parsed_by_library(content.head())
    frames = (frame for _, frame in _sampled(content, num_frames))
    return any(isinstance(frame, bytes) and is_parsed_by_library(frame) for frame in frames)


def cost_of(decoder: Decoder, kind: Kind, content: Media, reader: VideoReader | None) -> Cost:
    """Return the cost of decoding the media; raises DecompressionBombError, and MediaError.

    Without a reader the sizes of videos, and of media that `needs_process`, are unknown.
    """
    if kind == "image":
        source = content.data if content.is_encoded else content.media
        return _of_frames(decoder, [(content.name, source)], reader)
    if not content.is_encoded:
        return _of_frames(decoder, [*_sampled(content, decoder.num_frames)], reader)
    if content.is_animated:
        return _of_animation(decoder, content, reader)
    if reader is None:
        return Cost(0, is_long=True)
    with content.as_file() as path:
        width, height = reader.size(path)
    _check(decoder, content.name, width, height)
    in_process = width * height * (2 * RGB_BYTES * decoder.num_frames + CODEC_BYTES)
    return _clip_cost(decoder, width * height, in_process)


def _of_frames(decoder: Decoder, frames: list[tuple[str, Any]], reader: VideoReader | None) -> Cost:
    """Return the cost of a still, or of frames in memory, which are decoded one by one."""
    kept = sum(len(frame) for _, frame in frames if isinstance(frame, bytes))
    pixels, largest, is_encoded, is_slow = 0, 0, False, False
    for name, frame in frames:
        size = _size(decoder, frame, name, reader)
        _check(decoder, name, size.width, size.height)
        count = size.width * size.height
        pixels += count
        largest = max(largest, count * max(size.pixel_bytes, RESIZE_BYTES))
        is_encoded = is_encoded or size.pixel_bytes > 0
        is_slow = is_slow or size.is_slow
    # The frames of a clip are also copied into one tensor.
    copies = 1 if len(frames) == 1 else 2
    total = largest + copies * RGB_BYTES * pixels + 2 * kept
    is_long = is_slow or (is_encoded and pixels > MAX_THREAD_PIXELS)
    return Cost(total, largest + 2 * kept, is_long)


def _size(decoder: Decoder, frame: Any, name: str, reader: VideoReader | None) -> Header:
    """Return the size, and bytes to decode a pixel; all 0 for what no reader takes."""
    if isinstance(frame, bytes):
        return _header(decoder, frame, name, reader) or Header(0, 0, 0)
    shape = tuple(getattr(frame, "shape", ()))
    if len(shape) != 3:
        return Header(0, 0, 0)
    height, width = shape[1:] if isinstance(frame, Tensor) else shape[:2]
    return Header(width, height, 0)


def _header(
    decoder: Decoder, content: bytes, name: str, reader: VideoReader | None
) -> Header | None:
    try:
        if reader is not None and is_parsed_by_library(content):
            return reader.header(content, name)[0]
        return read_header(content, name)
    except DecompressionBombError as error:
        # Pillow refuses so many pixels, whatever the flag says.
        raise _too_large(decoder, name, f"more than {MAX_PIXELS}") from error


def _of_animation(decoder: Decoder, content: Media, reader: VideoReader | None) -> Cost:
    header = _header(decoder, content.data, content.name, reader)
    if header is None:
        return Cost(0, is_long=True)
    _check(decoder, content.name, header.width, header.height)
    pixels = header.width * header.height
    each = 2 * RGB_BYTES * decoder.num_frames + header.pixel_bytes
    return _clip_cost(decoder, pixels, pixels * each + 2 * len(content.data))


def _clip_cost(decoder: Decoder, pixels: int, in_process: int) -> Cost:
    here = 2 * RGB_BYTES * decoder.num_frames + RESIZE_BYTES
    return Cost(in_process + pixels * here, in_process, is_long=True)


def _check(decoder: Decoder, name: str, width: int, height: int) -> None:
    if width * height > decoder.max_pixels:
        raise _too_large(decoder, name, f"{width} x {height}")


def _too_large(decoder: Decoder, name: str, size: str) -> DecompressionBombError:
    return DecompressionBombError(
        f"{name}: too many pixels ({size}; "
        f"at most {decoder.max_pixels}: the server's --max-megapixels)"
    )


def check_memory(cost: int, most: int, name: str) -> None:
    """Raise DecompressionBombError if a decode needs more than its share of the memory."""
    if cost > most:
        raise DecompressionBombError(
            f"{name}: decoding takes about {math.ceil(cost / MEGABYTE)} MB "
            f"(at most {most // MEGABYTE} MB: a share of the server's --decode-memory-mb)"
        )


def _sampled(content: Media, count: int) -> Iterator[tuple[str, Any]]:
    """Yield the frames in memory that are decoded, with names; none of media that are no frames."""
    frames = content.media
    length = len(frames) if isinstance(frames, list | tuple) else getattr(frames, "shape", (0,))[0]
    if length:
        for at in sample_indices(length, count):
            yield content.frame_name(at), frames[at]
