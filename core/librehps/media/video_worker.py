"""The video worker process: reads requests from stdin and writes frames to stdout.

A separate process, because a hostile file can crash or hang the C libraries that decode it.
A request is a line of JSON: path, container and num_frames, max_pixels, backend; without these the
tags are wanted. A response is a line of JSON, {"error", "message"}, {"tags"} or
{"indices", "shape"}; after the last the frames as raw RGB bytes.
"""

import json
import os
import re
import sys
from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np

from librehps.media.refusal import RefusedError
from librehps.media.video_tags import read_tags

# 16k x 8k: larger than the videos of any generator.
MAX_FRAME_PIXELS = 1 << 27

Frames = tuple[list[int], np.ndarray]


def sample_indices(available: int, wanted: int) -> list[int]:
    """Return all frame indices if at most `wanted`, else the middles of `wanted` equal spans."""
    if available <= wanted:
        return list(range(available))
    spans = (round(i * available / wanted + available / (2 * wanted)) for i in range(wanted))
    return [min(index, available - 1) for index in spans]


def read_decord(path: str, container: str, num_frames: int, max_pixels: int) -> Frames:
    import decord

    decord.logging.set_level(decord.logging.QUIET)
    try:
        # With a tolerance above zero and below one frame a damaged frame is an error; the default
        # repeats the previous frame.
        reader = decord.VideoReader(_openable(path), fault_tol=1e-9)
        height, width = reader[0].shape[:2]
        _check_frame(height, width, max_pixels)
        if container == "mov" and reader.get_frame_timestamp(0)[0] < 0:
            # decord counts the frames that an edit list removes, and returns wrong frames.
            reason = "an edit list removes its first frames, which decord misreads; use PyAV"
            raise RefusedError("UnsupportedMediaError", f"{reason} (--video-backend pyav)")
        indices = sample_indices(len(reader), num_frames)
        return indices, reader.get_batch(indices).asnumpy()
    except (decord.DECORDError, decord.DECORDLimitReachedError) as error:
        if "cannot find video stream" in str(error):
            reason = "no video stream that decord can read"
            raise RefusedError("NoVideoStreamError", reason) from error
        raise RefusedError("BrokenMediaError", _first_line(error)) from error
    except (RuntimeError, AssertionError, IndexError) as error:
        raise RefusedError("BrokenMediaError", _first_line(error)) from error


def read_pyav(path: str, container: str, num_frames: int, max_pixels: int) -> Frames:
    import av

    try:
        with av.open(path, format=container) as file:
            if not file.streams.video:
                raise RefusedError("NoVideoStreamError", "no video stream, only audio")
            stream = file.streams.video[0]
            _check_frame(stream.height, stream.width, max_pixels)
            declared = stream.frames
            # Packets that an edit list removes are in the file, but not shown.
            shown = [not packet.is_discard for packet in file.demux(stream) if packet.size]
        if declared and len(shown) != declared:
            reason = f"the file holds {len(shown)} of {declared} declared frames"
            raise RefusedError("BrokenMediaError", reason)
        indices = sample_indices(sum(shown), num_frames)
        with av.open(path, format=container) as file:
            frames = _pick(file, set(indices))
    except av.FFmpegError as error:
        raise RefusedError("BrokenMediaError", _first_line(error)) from error
    if len(frames) != len(indices) or not frames:
        raise RefusedError(
            "BrokenMediaError", f"only {len(frames)} of {len(indices)} frames decode"
        )
    return indices, np.stack(frames)


BACKENDS: dict[str, Callable[[str, str, int, int], Frames]] = {
    "decord": read_decord,
    "pyav": read_pyav,
}


def _pick(file: Any, wanted: set[int]) -> list[np.ndarray]:
    file.streams.video[0].thread_type = "AUTO"
    last, frames = max(wanted, default=-1), []
    for index, frame in enumerate(file.decode(video=0)):
        if index in wanted:
            turns = int(frame.rotation) // 90
            frames.append(np.rot90(frame.to_ndarray(format="rgb24"), turns))
        if index >= last:
            break
    return frames


def _openable(path: str) -> str | BinaryIO:
    """Return the path, or an open file for a name that is not UTF-8, which decord cannot open."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return open(path, "rb")  # noqa: PTH123 - decord reads it at once
    return path


def _check_frame(height: int, width: int, max_pixels: int) -> None:
    if height * width > max_pixels:
        reason = f"too many pixels per frame ({width} x {height}; at most {max_pixels})"
        raise RefusedError("DecompressionBombError", reason)


def _first_line(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    # decord prefixes the time and its source line.
    said = re.sub(r"^\[[\d:]+\] \S+:\d+: ", "", lines[0]) if lines else type(error).__name__
    return said.split("Error: ")[-1][:300]


def _limit_memory(limit: int) -> None:
    try:
        import resource
    except ImportError:
        # Windows has no such limit.
        return
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    if hard != resource.RLIM_INFINITY:
        limit = min(limit, hard)
    try:
        resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    except (ValueError, OSError):
        # Some systems reject this limit; the time limit still applies.
        return


def _answer(request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    try:
        if "backend" not in request:
            return {"tags": read_tags(request["path"], request["container"])}, b""
        read = BACKENDS[request["backend"]]
        wanted = (request[name] for name in ("path", "container", "num_frames", "max_pixels"))
        indices, frames = read(*wanted)
        return {"indices": indices, "shape": frames.shape}, np.ascontiguousarray(frames).tobytes()
    except RefusedError as error:
        return {"error": error.args[0], "message": error.args[1]}, b""
    except MemoryError:
        return {"error": "DecoderCrashError", "message": "the decoder ran out of memory"}, b""


def main(memory_limit: int) -> None:
    # Decoders may print to stdout: keep the real stdout for responses only.
    responses = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    _limit_memory(memory_limit)
    for line in sys.stdin.buffer:
        header, payload = _answer(json.loads(line))
        responses.write(json.dumps(header).encode() + b"\n")
        responses.write(payload)
        responses.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]))
