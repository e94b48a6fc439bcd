"""The decoder process: reads requests from stdin and writes pixels to stdout.

A separate process, because a hostile file can crash or hang the C libraries that decode it.
A request is a line of JSON: `task` and its arguments; a task with `bytes` is followed by so many
bytes of an encoded image. `memory`: bytes that the task may add to the process. A response is a
line of JSON, {"error", "message"} or the answer; after one with `shape` the pixels as raw bytes.
"""

import gc
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from librehps.errors import MediaError
from librehps.media.refused_error import RefusedError

Answer = tuple[dict[str, Any], np.ndarray | None]
# Address space of libraries and of their threads (stacks, heaps), most of which is never touched.
SPARE_BYTES = (256 << 20) + (16 << 20) * (os.cpu_count() or 1)
# A library that hangs may not let `_end_with` run: then the system ends the process.
PARENT_POLL_S, CPU_TIMES = 2.0, 2


def _clip(path: str, container: str, backend: str, **wanted: Any) -> Answer:
    """Read sampled frames of a video as (F, H, W, 3)."""
    from librehps.media.pyav_reader import Request, read_pyav

    request = Request(path, container, **wanted)
    if backend == "decord":
        # Only here, because it may not be installed.
        from librehps.media.decord_reader import read_decord

        reading = read_decord(request)
    else:
        reading = read_pyav(request)
    return {"indices": reading.indices, "variable": reading.variable}, reading.frames


def _tags(path: str, container: str) -> Answer:
    from librehps.media.video_tags import read_tags

    return {"tags": read_tags(path, container)}, None


def _size(path: str, container: str) -> Answer:
    """Read the width and height of a video's frames."""
    from librehps.media.video_file import frame_size

    return {"size": frame_size(path, container)}, None


def _header(content: bytes, name: str) -> Answer:
    """Read the header of an image, None for a damaged one, and whether the image is animated."""
    from librehps.media.durations import is_animated
    from librehps.media.headers import read_header

    header = read_header(content, name)
    return {
        "header": None if header is None else vars(header),
        "animated": is_animated(content),
    }, None


def _image(content: bytes, name: str, max_pixels: int, options: dict[str, Any]) -> Answer:
    """Read an image as (3, H, W)."""
    from librehps.media.image_formats import open_image
    from librehps.media.options import MediaOptions
    from librehps.media.pillow_reader import planes, read_image

    def use(rgb: Any, is_transparent: bool) -> Answer:
        return {"transparent": is_transparent}, planes(rgb)

    image = open_image(content, name, max_pixels)
    return read_image(image, name, use, MediaOptions(**options), max_pixels)


def _animation(
    content: bytes, name: str, num_frames: int, max_pixels: int, options: dict[str, Any]
) -> Answer:
    """Read sampled frames of an animated image as (F, 3, H, W)."""
    from librehps.media.animation_frames import animation_frames
    from librehps.media.options import MediaOptions

    given = MediaOptions(**options)
    frames, indices, remarks = animation_frames(content, name, num_frames, given, max_pixels)
    return {"indices": indices, "remarks": sorted(remarks)}, frames


TASKS: dict[str, Callable[..., Answer]] = {
    "clip": _clip,
    "tags": _tags,
    "size": _size,
    "header": _header,
    "image": _image,
    "animation": _animation,
}


def _answer(request: dict[str, Any], limits: "_Limits") -> Answer:
    task, memory = TASKS[request.pop("task")], request.pop("memory", None)
    if (size := request.pop("bytes", None)) is not None:
        request["content"] = sys.stdin.buffer.read(size)
    try:
        with limits.adding(memory):
            return task(**request)
    except RefusedError as error:
        return {"error": error.args[0], "message": error.args[1]}, None
    except MediaError as error:
        return {"error": type(error).__name__, "message": str(error)}, None
    except MemoryError:
        return {"error": "DecoderCrashError", "message": "the decoder ran out of memory"}, None


class _Limits:
    """The limits on this process's address space: `most` bytes in all, and less for a task.

    Systems without such limits (Windows) or that reject them keep the time limit alone.
    """

    def __init__(self, most: int, seconds: int) -> None:
        self._most, self._seconds = most, seconds
        self._set(most)

    @contextmanager
    def adding(self, memory: int | None) -> Iterator[None]:
        """Let the process grow by `memory` bytes at most during the block; None: no such limit."""
        self._set_time()
        used = None if memory is None else _address_space()
        if memory is None or used is None:
            yield
            return
        self._set(min(self._most, used + memory + SPARE_BYTES))
        try:
            yield
        finally:
            self._set(self._most)

    def _set_time(self) -> None:
        """End the process after twice the time that the server gives, if the server is no more."""
        try:
            import resource
        except ImportError:
            return
        _, hard = resource.getrlimit(resource.RLIMIT_CPU)
        limit = int(time.process_time()) + 1 + CPU_TIMES * self._seconds
        if hard == resource.RLIM_INFINITY or limit < hard:
            resource.setrlimit(resource.RLIMIT_CPU, (limit, hard))

    def _set(self, limit: int) -> None:
        try:
            import resource
        except ImportError:
            return
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        if hard != resource.RLIM_INFINITY:
            limit = min(limit, hard)
        try:
            resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
        except (ValueError, OSError):
            return


def _address_space() -> int | None:
    """Return the bytes of this process's address space; None where Linux does not tell them."""
    try:
        pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[0]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return None


def _yield_cores(niceness: int) -> None:
    if niceness and hasattr(os, "nice"):
        os.nice(niceness)


def _end_with(parent: int) -> None:
    """Wait until the parent process has ended, then end this one, whatever it decodes."""
    while os.getppid() == parent:
        time.sleep(PARENT_POLL_S)
    os._exit(1)


def main(memory_limit: int, niceness: int, time_limit: int, parent: int) -> None:
    threading.Thread(target=_end_with, args=[parent], daemon=True).start()
    # Decoders may print to stdout: keep the real stdout for responses only.
    responses = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    limits = _Limits(memory_limit, time_limit)
    _yield_cores(niceness)
    for line in sys.stdin.buffer:
        header, pixels = _answer(json.loads(line), limits)
        if pixels is not None:
            pixels = np.ascontiguousarray(pixels)
            header["shape"] = pixels.shape
        responses.write(json.dumps(header).encode() + b"\n")
        if pixels is not None:
            responses.write(pixels.data)
        responses.flush()
        # The next request may need the memory; some readers leave their image in a cycle.
        del pixels
        gc.collect()
        # What is left, mostly modules, is not looked at again, which would take 10 ms each time.
        gc.freeze()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:5]))
