"""Sampled frames of a video, read by PyAV: decoded in order, each proven by its time stamp."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import av
import numpy as np

from librehps.media.frame_index import FrameIndex, codec_name, index_frames
from librehps.media.refusal import RefusedError, refused_by_name
from librehps.media.sampling import is_variable, sample_indices, sample_times
from librehps.media.video_file import check_frame, open_video, video_stream
from librehps.media.video_pixels import rgb_pixels, square_size

# Fewer frames are decoded faster in order than after a seek.
SEEK_FRAMES = 240
# Frames that the start of a stream cut from another may lack.
MAX_LEADING = 16


@dataclass(frozen=True)
class Request:
    """A video and the frames wanted of it; `sample` is index or time."""

    path: str
    container: str
    num_frames: int
    max_pixels: int
    sample: str = "index"


@dataclass(frozen=True)
class Reading:
    """Sampled frames (F, H, W, 3) uint8, their indices, and whether the frame rate varies."""

    frames: np.ndarray
    indices: list[int]
    variable: bool = False


class _UnprovenError(Exception):
    """A decoded frame is not the one that the index expects there."""


def read_pyav(request: Request) -> Reading:
    """Return the sampled frames; raises RefusedError, whose text names codec and container."""
    with open_video(request.path, request.container) as file:
        stream = video_stream(file)
        codec = codec_name(stream)
        size = square_size(stream.width, stream.height, stream.sample_aspect_ratio)
        check_frame(*size, request.max_pixels)
        with refused_by_name(request.path, codec, request.container):
            index = index_frames(file, stream, request.container)
            return _read(request, index, codec)


def _read(request: Request, index: FrameIndex, codec: str) -> Reading:
    indices = choose(index, request)
    try:
        frames = _picked(request, index, indices)
    except _UnprovenError:
        # Fewer or other frames than packets: what decodes is what a player shows.
        index = _recount(request, index, codec)
        indices = choose(index, request)
        frames = _pick(request, index, indices)
    if not frames:
        raise RefusedError("BrokenMediaError", "no frame decodes")
    if len({frame.shape for frame in frames}) > 1:
        raise RefusedError("UnsupportedMediaError", "its frames differ in size")
    return Reading(np.stack(frames), indices, bool(index.times and is_variable(index.times)))


def _picked(request: Request, index: FrameIndex, indices: list[int]) -> list[np.ndarray]:
    """Return the frames, with seeks if these prove right; raises _UnprovenError."""
    in_order = replace(index, starts=())
    # A longer pause may be a hole in the stream: a seek would jump over the frames that it takes.
    if not index.times or is_variable(index.times):
        return _pick(request, in_order, indices)
    try:
        return _pick(request, index, indices)
    except _UnprovenError:
        return _pick(request, in_order, indices)


def choose(index: FrameIndex, request: Request) -> list[int]:
    """Return the indices of the sampled frames."""
    if request.sample == "time" and index.times:
        return sample_times(index.times, request.num_frames)
    return sample_indices(index.count, request.num_frames)


def _pick(request: Request, index: FrameIndex, indices: list[int]) -> list[np.ndarray]:
    """Return the frames of these indices; raises _UnprovenError if one is another frame."""
    wanted, found = set(indices), {}
    with open_video(request.path, request.container) as file:
        stream = video_stream(file)
        aspect = stream.sample_aspect_ratio
        for at, frame in _decoded(file, stream, index, sorted(wanted)):
            if at in wanted:
                check_frame(frame.width, frame.height, request.max_pixels)
                found[at] = rgb_pixels(frame, aspect)
    if len(found) < len(wanted):
        raise _UnprovenError
    return [found[at] for at in indices]


def _decoded(
    file: Any, stream: Any, index: FrameIndex, wanted: list[int]
) -> Iterator[tuple[int, Any]]:
    """Yield (index, frame) up to the last wanted one, past long stretches without one by a seek."""
    at, frames = 0, file.decode(stream)
    for target in wanted:
        start = max((s for s in index.starts if s <= target), default=0)
        if index.times and start - at > SEEK_FRAMES:
            try:
                file.seek(index.times[start], stream=stream)
            except av.FFmpegError as error:
                raise _UnprovenError from error
            at, frames = start, _from(file.decode(stream), index.times[start])
        while at <= target:
            frame = next(frames, None)
            if frame is None or (index.times and frame.pts != index.times[at]):
                raise _UnprovenError
            if frame.is_corrupt:
                raise RefusedError("BrokenMediaError", f"frame {at} is damaged")
            yield at, frame
            at += 1


def _from(frames: Iterator[Any], time: int) -> Iterator[Any]:
    """Yield the frames from this time on; those before were only decoded on the way."""
    for frame in frames:
        if frame.pts is None or frame.pts >= time:
            yield frame


def _recount(request: Request, index: FrameIndex, codec: str) -> FrameIndex:
    """Return the index of the frames that decode; raises RefusedError if damage lost some."""
    with open_video(request.path, request.container) as file:
        times = [frame.pts for frame in file.decode(video_stream(file))]
    known = index.times is not None and None not in times and sorted(set(times)) == times
    if known and times:
        lost = set(index.times or ()) - set(times)
        # VP8 has packets that are never shown; MPEG-4 placeholders.
        harmless = index.placeholders if codec == "mpeg4" else lost if codec == "vp8" else set()
        damaged = any(time > times[0] and time not in harmless for time in lost)
    else:
        leading = 0 if index.times else MAX_LEADING
        damaged = index.count - len(times) > leading
    if damaged or not times:
        reason = f"only {len(times)} of {index.count} frames decode"
        raise RefusedError("BrokenMediaError", reason)
    # Without the starts: frames that a seek would need may be among the lost.
    return replace(index, count=len(times), times=tuple(times) if known else None, starts=())
