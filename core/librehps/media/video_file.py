"""An open video file: its container, its video stream, and the limit on the size of its frames."""

import os
from typing import Any

import av

from librehps.media.refusal import RefusedError
from librehps.media.video_pixels import square_size

# More threads take more memory (frames, stacks) and are no faster on short clips.
MAX_CODEC_THREADS = 4


def open_video(path: str, container: str) -> Any:
    """Return the open container of a video file; raises RefusedError."""
    try:
        # Text that is not UTF-8 must not make a clip unreadable.
        return av.open(path, format=container, metadata_errors="replace")
    except av.FFmpegError as error:
        reason = f"FFmpeg cannot open it: {error.strerror}"
        raise RefusedError("BrokenMediaError", reason) from error


def video_stream(file: Any) -> Any:
    """Return the first video stream, with a bounded number of threads; raises RefusedError."""
    # A cover picture is stored as a stream too.
    covers = av.stream.Disposition.attached_pic
    stream = next((each for each in file.streams.video if not each.disposition & covers), None)
    if stream is None:
        raise RefusedError("NoVideoStreamError", "no video stream, only audio")
    if stream.codec_context is None:
        raise RefusedError("UnsupportedMediaError", "its codec is unknown to FFmpeg")
    stream.codec_context.thread_count = min(MAX_CODEC_THREADS, os.cpu_count() or 1)
    stream.codec_context.thread_type = "AUTO"
    return stream


def frame_size(path: str, container: str) -> tuple[int, int]:
    """Return the width and height of a video's frames, as declared; raises RefusedError."""
    with open_video(path, container) as file:
        stream = video_stream(file)
        return square_size(stream.width, stream.height, stream.sample_aspect_ratio)


def check_frame(width: int, height: int, max_pixels: int) -> None:
    """Raise RefusedError if a frame has more than `max_pixels`."""
    if height * width > max_pixels:
        reason = f"too many pixels per frame ({width} x {height}; at most {max_pixels})"
        raise RefusedError("DecompressionBombError", reason)
