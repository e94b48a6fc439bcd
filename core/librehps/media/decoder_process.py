"""A process that decodes media files, with limits on time and memory."""

import importlib.util
import json
import math
import os
import subprocess
import sys
import tempfile
import threading
from typing import IO, Any

import numpy as np

from librehps import errors
from librehps.errors import DecoderCrashError, MediaError, VideoTimeoutError
from librehps.media.decoder_deadline import Deadline

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
# Fewer and larger reads: each needs the interpreter's lock.
PIPE_BYTES = 1 << 20

# The worker's header, and the pixels if it has a shape.
Response = tuple[dict[str, Any], np.ndarray | None]


class DecoderProcess:
    """A decoder process, started on the first request and again after a crash or timeout.

    `time_limit` in seconds of CPU per request (see `Deadline`), `memory_limit` in bytes of address
    space; `niceness` is added to the priority. Thread-safe: one request at a time.
    """

    # Class attributes, for `__del__` after an error in `__init__`.
    child: subprocess.Popen[bytes] | None = None
    _killed: subprocess.Popen[bytes] | None = None
    _log: IO[bytes] | None = None

    def __init__(self, time_limit: float, memory_limit: int, niceness: int = 0) -> None:
        self.time_limit, self.memory_limit, self.niceness = time_limit, memory_limit, niceness
        self._lock = threading.Lock()

    def ask(self, request: dict[str, Any], name: str, content: bytes | None = None) -> Response:
        """Return the answer; raises the MediaError that the process reports, or its end as one."""
        if content is not None:
            request = {**request, "bytes": len(content)}
        with self._lock:
            header, pixels = self._exchange(request, name, content)
        if "error" in header:
            kind: type[MediaError] = getattr(errors, header["error"])
            # The readers of images name the image themselves.
            raise kind(header["message"] if content is not None else f"{name}: {header['message']}")
        return header, pixels

    def kill(self) -> None:
        """End the process at once; a request in progress raises DecoderCrashError."""
        child = self._killed = self.child
        if child is not None:
            child.kill()

    def close(self) -> None:
        """Stop the process, if it runs."""
        with self._lock:
            self._end()

    def _exchange(self, request: dict[str, Any], name: str, content: bytes | None) -> Response:
        child = self._running()
        assert self._log is not None  # noqa: S101 - opened with the child, which shares its offset
        self._log.seek(0)
        self._log.truncate()
        assert child.stdin and child.stdout  # noqa: S101 - both are pipes
        deadline = Deadline(child.pid, self.time_limit, child.kill)
        deadline.start()
        try:
            child.stdin.write(json.dumps(request).encode() + b"\n")
            child.stdin.write(content or b"")
            child.stdin.flush()
            line = child.stdout.readline()
            header: dict[str, Any] = json.loads(line) if line.endswith(b"\n") else {}
            pixels = _read_pixels(child.stdout, header["shape"]) if "shape" in header else None
            is_whole = bool(header) and ("shape" not in header or pixels is not None)
        except BrokenPipeError:
            is_whole = False
        except BaseException:
            # The pipe may hold half a response, which the next read would take for its own.
            self._end()
            raise
        finally:
            deadline.cancel()
        if not is_whole:
            raise self._post_mortem(name, deadline.is_late)
        return header, pixels

    def _running(self) -> subprocess.Popen[bytes]:
        # A killed process may still seem to run, and would take the next request with it.
        is_killed = self.child is self._killed
        if self.child is None or is_killed or self.child.poll() is not None:
            self._end()
            self._log = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the child
            # The child imports from this process's path, but not from the working directory.
            search = os.pathsep.join(entry for entry in sys.path if entry)
            limits = map(str, (self.memory_limit, self.niceness, math.ceil(self.time_limit)))
            self.child = subprocess.Popen(
                [
                    sys.executable,
                    "-P",
                    "-m",
                    "librehps.media.video_worker",
                    *limits,
                    str(os.getpid()),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                env={**os.environ, **THREAD_LIMITS, "PYTHONPATH": search},
                # Honoured where the system can (Linux).
                pipesize=PIPE_BYTES,
            )
        return self.child

    def _post_mortem(self, name: str, late: bool) -> MediaError:
        child = self.child
        assert child is not None  # noqa: S101 - it was just spoken to
        try:
            code = child.wait(timeout=1)
        except subprocess.TimeoutExpired:
            child.kill()
            code = child.wait()
        said = self._last_words()
        self._end()
        if late:
            return VideoTimeoutError(f"{name}: timeout: not decoded within {self.time_limit:g} s")
        how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
        return DecoderCrashError(f"{name}: the decoder crashed {how}{said}")

    def _last_words(self) -> str:
        if self._log is None:
            return ""
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        return f" ({lines[-1][:200]})" if lines else ""

    def _end(self) -> None:
        if self.child is not None:
            self.child.kill()
            self.child.wait()
            for pipe in (self.child.stdin, self.child.stdout):
                if pipe is not None:
                    self._close(pipe)
        if self._log is not None:
            self._log.close()
        self.child, self._log = None, None

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


def has_package(name: str) -> bool:
    """Return whether a package is installed, without importing it."""
    return importlib.util.find_spec(name) is not None


def _read_pixels(stream: IO[bytes], shape: list[int]) -> np.ndarray | None:
    """Return uint8 pixels of this shape; None if the stream ends early."""
    pixels = np.empty(math.prod(shape), np.uint8)
    view, at = pixels.data, 0
    while at < len(pixels):
        count = stream.readinto(view[at:])  # type: ignore[attr-defined]
        if not count:
            return None
        at += count
    return pixels.reshape(shape)
