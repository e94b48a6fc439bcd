"""Sampled frames of a video, read by decord: only of clips where its frames equal PyAV's."""

import re
from typing import Any, BinaryIO

import numpy as np

from librehps.media.frame_index import FrameIndex, codec_name, index_frames
from librehps.media.pyav_reader import Reading, Request, choose
from librehps.media.refusal import RefusedError, refused_by_name
from librehps.media.sampling import is_variable
from librehps.media.video_file import check_frame, open_video, video_stream
from librehps.media.video_pixels import is_mirrored

CODECS = ("h264", "hevc", "mpeg4", "vp9")
# More threads take more memory.
NUM_THREADS = 2
REMEDY = "Use --video-backend auto"


def read_decord(request: Request) -> Reading:
    """Return the sampled frames, decoded in order; raises RefusedError for any other clip."""
    with open_video(request.path, request.container) as file:
        stream = video_stream(file)
        codec = codec_name(stream)
        check_frame(stream.width, stream.height, request.max_pixels)
        with refused_by_name(request.path, codec, request.container):
            index = index_frames(file, stream, request.container)
            file.seek(0)
            first = next(file.decode(stream), None)
        if first is None or is_mirrored(first):
            raise _unproven("its container mirrors it" if first else "its first frame is missing")
        if len(file.streams.video) > 1:
            raise _unproven("it has several video streams")
        _check_proven(stream, index, request.container)
    indices = choose(index, request)
    frames = _frames(request, index, indices)
    return Reading(frames, indices, bool(index.times and is_variable(index.times)))


def _check_proven(stream: Any, index: FrameIndex, container: str) -> None:
    """Raise RefusedError unless decord's frames are known to equal PyAV's."""
    context = stream.codec_context
    aspect = stream.sample_aspect_ratio
    problems = (
        (codec_name(stream) not in CODECS, f"codec {codec_name(stream)}"),
        (context.pix_fmt not in (None, "yuv420p"), f"pixel format {context.pix_fmt}"),
        (bool(aspect and aspect != 1), f"pixels of aspect {aspect}"),
        (index.hidden > 0, "an edit list removes frames"),
        (index.times is None, f"{container} has no time stamps"),
        (0 not in index.starts, "its first frames may not decode"),
    )
    for found, reason in problems:
        if found:
            raise _unproven(reason)


def _unproven(reason: str) -> RefusedError:
    message = f"decord may show other frames here ({reason}). {REMEDY}"
    return RefusedError("UnsupportedMediaError", message)


def _frames(request: Request, index: FrameIndex, indices: list[int]) -> np.ndarray:
    import decord

    decord.logging.set_level(decord.logging.QUIET)
    try:
        # With a tolerance above zero and below one frame a damaged frame is an error; the default
        # repeats the previous frame.
        reader = decord.VideoReader(
            _openable(request.path), num_threads=NUM_THREADS, fault_tol=1e-9
        )
        if len(reader) != index.count:
            raise _unproven(f"decord counts {len(reader)} of {index.count} frames")
        return _in_order(reader, indices)
    except (decord.DECORDError, decord.DECORDLimitReachedError) as error:
        raise RefusedError("BrokenMediaError", f"{_first_line(error)}. {REMEDY}") from error
    except (RuntimeError, AssertionError, IndexError, StopIteration) as error:
        raise RefusedError("BrokenMediaError", f"{_first_line(error)}. {REMEDY}") from error


def _in_order(reader: Any, indices: list[int]) -> np.ndarray:
    """Return the frames, taken one by one: decord's seek and skip may land on another frame."""
    found = {}
    for index in range(indices[-1] + 1):
        frame = reader.next()
        if index in indices:
            found[index] = frame.asnumpy()
    return np.stack([found[index] for index in indices])


def _openable(path: str) -> str | BinaryIO:
    """Return the path, or an open file for a name that is not UTF-8, which decord cannot open."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return open(path, "rb")  # noqa: PTH123 - decord reads it at once
    return path


def _first_line(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    # decord prefixes the time and its source line.
    said = re.sub(r"^\[[\d:]+\] \S+:\d+: ", "", lines[0]) if lines else type(error).__name__
    return said.split("Error: ")[-1][:300]
