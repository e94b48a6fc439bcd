"""Errors of reading a video, as the decoder process sends them to its parent."""

import errno
import shlex
from collections.abc import Iterator
from contextlib import contextmanager

import av

from librehps.media.refused_error import RefusedError as RefusedError


@contextmanager
def refused_by_name(path: str, codec: str, container: str) -> Iterator[None]:
    """Add codec, container and a command that may help to the errors of reading this video."""
    try:
        yield
    except RefusedError as error:
        kind, reason = error.args
        raise RefusedError(kind, _described(reason, path, codec, container)) from error
    except av.FFmpegError as error:
        raise _refused(error, path, codec, container) from error


def _refused(error: av.FFmpegError, path: str, codec: str, container: str) -> RefusedError:
    if error.errno == errno.ENOMEM:
        return RefusedError("DecoderCrashError", "the decoder ran out of memory")
    reason = f"FFmpeg cannot decode it: {error.strerror}"
    return RefusedError("BrokenMediaError", _described(reason, path, codec, container))


def _described(reason: str, path: str, codec: str, container: str) -> str:
    command = f"ffmpeg -i {shlex.quote(path)} -c:v libx264 -crf 10 -pix_fmt yuv420p NEW.mp4"
    return f"{codec} in {container}: {reason}. If a player shows it, re-encode it: {command}"
