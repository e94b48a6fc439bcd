"""The decoder process: reads requests from stdin, answers with frames on stdout.

A process of its own, because a hostile file can crash or hang the C libraries that decode it.
A request is a line of JSON: path, container, num_frames, max_pixels, backend. An answer is one too,
either {"error", "message"} or {"indices", "shape"}, and then the frames as raw RGB bytes.
"""

import json
import os
import re
import sys
from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np

# More pixels a frame than 16k x 8k are no video that a generator made.
MAX_FRAME_PIXELS = 1 << 27

Frames = tuple[list[int], np.ndarray]


class RefusedError(Exception):
    """A named reason, told to the parent: (error class of librehps.errors, message)."""


def sample_indices(available: int, wanted: int) -> list[int]:
    """All frames where there are at most `wanted`, else the middles of `wanted` equal spans."""
    if available <= wanted:
        return list(range(available))
    spans = (round(i * available / wanted + available / (2 * wanted)) for i in range(wanted))
    return [min(index, available - 1) for index in spans]


def read_decord(path: str, container: str, num_frames: int, max_pixels: int) -> Frames:
    import decord

    decord.logging.set_level(decord.logging.QUIET)
    try:
        # A fault tolerance above zero and below one frame: a damaged frame is an error, where the
        # default would hand out the frame before it again.
        reader = decord.VideoReader(_openable(path), fault_tol=1e-9)
        height, width = reader[0].shape[:2]
        _check_frame(height, width, max_pixels)
        if container == "mov" and reader.get_frame_timestamp(0)[0] < 0:
            # decord counts the frames that an edit list cuts off, and hands out others for them.
            reason = "an edit list cuts off its start, which decord misreads; use PyAV"
            raise RefusedError("UnsupportedMediaError", f"{reason} (--video-backend pyav)")
        indices = sample_indices(len(reader), num_frames)
        return indices, reader.get_batch(indices).asnumpy()
    except (decord.DECORDError, decord.DECORDLimitReachedError) as error:
        if "cannot find video stream" in str(error):
            reason = "there is no video stream in it that decord can read"
            raise RefusedError("NoVideoStreamError", reason) from error
        raise RefusedError("BrokenMediaError", _first_line(error)) from error
    except (RuntimeError, AssertionError, IndexError) as error:
        raise RefusedError("BrokenMediaError", _first_line(error)) from error


def read_pyav(path: str, container: str, num_frames: int, max_pixels: int) -> Frames:
    import av

    try:
        with av.open(path, format=container) as file:
            if not file.streams.video:
                raise RefusedError("NoVideoStreamError", "there is no video in it, only sound")
            stream = file.streams.video[0]
            _check_frame(stream.height, stream.width, max_pixels)
            declared = stream.frames
            # Packets that an edit list cuts off are there, and are not shown.
            shown = [not packet.is_discard for packet in file.demux(stream) if packet.size]
        if declared and len(shown) != declared:
            reason = f"{len(shown)} of its {declared} frames are there"
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
    """decord takes names in UTF-8 only; any other is opened here and handed over as bytes."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return open(path, "rb")  # noqa: PTH123 - decord reads it at once
    return path


def _check_frame(height: int, width: int, most: int) -> None:
    if height * width > most:
        reason = f"frames of {width} x {height} are over the limit of {most} pixels"
        raise RefusedError("DecompressionBombError", reason)


def _first_line(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    # decord puts the time and the line of its source before it.
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
        # Some systems know the limit and refuse it; the time limit still holds.
        return


def _answer(request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    read = BACKENDS[request["backend"]]
    try:
        wanted = (request[name] for name in ("path", "container", "num_frames", "max_pixels"))
        indices, frames = read(*wanted)
        return {"indices": indices, "shape": frames.shape}, np.ascontiguousarray(frames).tobytes()
    except RefusedError as error:
        return {"error": error.args[0], "message": error.args[1]}, b""
    except MemoryError:
        return {"error": "DecoderCrashError", "message": "the decoder ran out of memory"}, b""


def main(memory_limit: int) -> None:
    # Decoders print to stdout at times: keep the real one for answers alone.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    _limit_memory(memory_limit)
    for line in sys.stdin.buffer:
        header, payload = _answer(json.loads(line))
        answers.write(json.dumps(header).encode() + b"\n")
        answers.write(payload)
        answers.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]))
