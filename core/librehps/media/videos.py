"""Sampled frames of a video file, decoded in a worker process with limits on time and memory."""

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import LifoQueue
from typing import IO, Any

import torch
from torch import Tensor

from librehps import errors
from librehps.choices import Sample, VideoBackend, check_choice
from librehps.errors import (
    DecoderCrashError,
    MediaError,
    UnsupportedMediaError,
    UsageError,
    VideoTimeoutError,
)
from librehps.media.containers import check_video_file
from librehps.media.remarks import VARIABLE

VIDEO_TIMEOUT_S, MAX_MEMORY_BYTES = 60.0, 4 << 30
# 16k x 8k: larger than the videos of any generator.
MAX_FRAME_PIXELS = 1 << 27
# These libraries reserve memory for one thread per core, on a large machine more than the worker's
# limit, and the worker computes nothing with them; glibc reserves 64 MB for the heap of a thread.
THREAD_LIMITS = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NUMEXPR_NUM_THREADS": "1",
    "VECLIB_MAXIMUM_THREADS": "1",
    "BLIS_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "2",
}


@dataclass(frozen=True)
class Clip:
    """Sampled frames (F, 3, H, W) uint8, and their indices.

    `remarks` are names of `librehps.media.remarks`.
    """

    frames: Tensor
    indices: tuple[int, ...]
    remarks: frozenset[str] = frozenset()


def choose_backend(backend: VideoBackend) -> str:
    """Return the backend's name; "auto" is PyAV for every clip, whatever else is installed.

    Raises UsageError if decord is asked for, but not installed.
    """
    check_choice(backend, VideoBackend, "video backend")
    if backend == "decord" and not importlib.util.find_spec("decord"):
        raise UsageError("the video reader decord is not installed", hint="pip install decord")
    return "pyav" if backend == "auto" else backend


class VideoReader:
    """A video worker process, started on the first read and again after a crash or timeout.

    `time_limit` in seconds per video, `memory_limit` in bytes of address space. Thread-safe: one
    video at a time.
    """

    # Class attributes, for `__del__` after an error in `__init__`.
    _child: subprocess.Popen[bytes] | None = None
    _log: IO[bytes] | None = None

    def __init__(
        self,
        backend: VideoBackend = "auto",
        time_limit: float = VIDEO_TIMEOUT_S,
        memory_limit: int = MAX_MEMORY_BYTES,
    ) -> None:
        if backend != "auto":
            choose_backend(backend)
        self.backend: VideoBackend = backend
        self.time_limit, self.memory_limit = time_limit, memory_limit
        self._lock = threading.Lock()

    def read(
        self,
        path: Path,
        num_frames: int,
        max_pixels: int = MAX_FRAME_PIXELS,
        sample: Sample = "index",
    ) -> Clip:
        """Return `num_frames` evenly spaced frames, or all frames of a shorter video.

        `sample`: spaced by index, or by time. Raises MediaError, also for a frame of more than
        `max_pixels`.
        """
        request = {
            "num_frames": num_frames,
            "max_pixels": min(max_pixels, MAX_FRAME_PIXELS),
            "sample": sample,
            "backend": choose_backend(self.backend),
        }
        header, payload = self._ask(path, request)
        frames = torch.frombuffer(payload, dtype=torch.uint8).view(header["shape"])
        remarks = frozenset((VARIABLE,) if header["variable"] and sample == "index" else ())
        return Clip(frames.permute(0, 3, 1, 2), tuple(header["indices"]), remarks)

    def tags(self, path: Path) -> dict[str, str]:
        """Return the texts in the container's metadata, keys as they are stored.

        Invalid UTF-8 becomes U+FFFD. Raises MediaError, also for tags of more than 4 Mi characters.
        """
        header, _ = self._ask(path, {})
        tags: dict[str, str] = header["tags"]
        return tags

    def close(self) -> None:
        """Stop the worker process, if it runs."""
        with self._lock:
            self._end()

    def _ask(self, path: Path, options: dict[str, Any]) -> tuple[dict[str, Any], bytearray]:
        """Return the worker's response; raises the MediaError that the worker reports."""
        if importlib.util.find_spec("av") is None:
            raise UnsupportedMediaError(
                f"{path}: the package av, which reads videos, is not installed (pip install av)"
            )
        request = {
            # Absolute, so that FFmpeg cannot read a name as a protocol.
            "path": os.path.abspath(path),  # noqa: PTH100 - keeps undecodable bytes as they are
            "container": check_video_file(path),
            **options,
        }
        with self._lock:
            header, payload = self._exchange(request, path)
        if "error" in header:
            kind: type[MediaError] = getattr(errors, header["error"])
            raise kind(f"{path}: {header['message']}")
        return header, payload

    def _exchange(self, request: dict[str, Any], path: Path) -> tuple[dict[str, Any], bytearray]:
        child = self._running()
        assert child.stdin and child.stdout  # noqa: S101 - both are pipes
        late = threading.Event()

        def stop() -> None:
            late.set()
            child.kill()

        timer = threading.Timer(self.time_limit, stop)
        timer.daemon = True
        timer.start()
        try:
            child.stdin.write(json.dumps(request).encode() + b"\n")
            child.stdin.flush()
            line = child.stdout.readline()
            header: dict[str, Any] = json.loads(line) if line.endswith(b"\n") else {}
            payload = _read_frames(child.stdout, header.get("shape"))
        except BrokenPipeError:
            header, payload = {}, None
        except BaseException:
            # The pipe may hold half a response, which the next read would take for its own.
            self._end()
            raise
        finally:
            timer.cancel()
        if not header or payload is None:
            raise self._post_mortem(path, late.is_set())
        return header, payload

    def _running(self) -> subprocess.Popen[bytes]:
        if self._child is None or self._child.poll() is not None:
            self._end()
            self._log = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the child
            # The child imports from this process's path, but not from the working directory.
            search = os.pathsep.join(entry for entry in sys.path if entry)
            self._child = subprocess.Popen(
                [sys.executable, "-P", "-m", "librehps.media.video_worker", str(self.memory_limit)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                env={**os.environ, **THREAD_LIMITS, "PYTHONPATH": search},
            )
        return self._child

    def _post_mortem(self, path: Path, late: bool) -> MediaError:
        child = self._child
        assert child is not None  # noqa: S101 - it was just spoken to
        try:
            code = child.wait(timeout=1)
        except subprocess.TimeoutExpired:
            child.kill()
            code = child.wait()
        said = self._last_words()
        self._end()
        if late:
            return VideoTimeoutError(f"{path}: timeout: not decoded within {self.time_limit:g} s")
        how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
        return DecoderCrashError(f"{path}: the video decoder crashed {how}{said}")

    def _last_words(self) -> str:
        if self._log is None:
            return ""
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        return f" ({lines[-1][:200]})" if lines else ""

    def _end(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child.wait()
            for pipe in (self._child.stdin, self._child.stdout):
                if pipe is not None:
                    self._close(pipe)
        if self._log is not None:
            self._log.close()
        self._child, self._log = None, None

    # A method: a function of the module may be gone when `__del__` runs at exit.
    @staticmethod
    def _close(pipe: IO[bytes]) -> None:
        try:
            pipe.close()
        except BrokenPipeError:
            # Unflushed data was for a child that has exited.
            return

    def __del__(self) -> None:
        self._end()


class VideoReaders:
    """A pool of `count` video readers, one per thread; each starts its process when first used."""

    def __init__(self, backend: VideoBackend = "auto", count: int = 1) -> None:
        self._free: LifoQueue[VideoReader] = LifoQueue()
        self._all = [VideoReader(backend) for _ in range(count)]
        for reader in self._all:
            self._free.put(reader)

    def read(
        self,
        path: Path,
        num_frames: int,
        max_pixels: int = MAX_FRAME_PIXELS,
        sample: Sample = "index",
    ) -> Clip:
        """Return the clip that `VideoReader.read` returns, read by a free reader."""
        with self._one() as reader:
            return reader.read(path, num_frames, max_pixels, sample)

    def tags(self, path: Path) -> dict[str, str]:
        """Return the tags that `VideoReader.tags` returns, read by a free reader."""
        with self._one() as reader:
            return reader.tags(path)

    @contextmanager
    def _one(self) -> Iterator[VideoReader]:
        reader = self._free.get()
        try:
            yield reader
        finally:
            self._free.put(reader)

    def close(self) -> None:
        """Stop every worker process."""
        for reader in self._all:
            reader.close()


def _read_frames(stream: IO[bytes], shape: list[int] | None) -> bytearray | None:
    """Return the raw bytes of frames of this shape; None if the stream ends early."""
    size = 1
    for side in shape or [0]:
        size *= side
    payload = bytearray(size)
    view, at = memoryview(payload), 0
    while at < size:
        count = stream.readinto(view[at:])  # type: ignore[attr-defined]
        if not count:
            return None
        at += count
    return payload
