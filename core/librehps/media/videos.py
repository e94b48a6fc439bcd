"""Sampled frames of a video file, decoded in a worker process with limits on time and memory."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import LifoQueue
from typing import Any

import torch
from torch import Tensor

from librehps.choices import Sample, VideoBackend, check_choice
from librehps.errors import UnsupportedMediaError, UsageError
from librehps.media.containers import check_video_file
from librehps.media.decoder_process import DecoderProcess, Response, has_package
from librehps.media.headers import Header
from librehps.media.images import Picture
from librehps.media.options import MediaOptions
from librehps.media.remarks import TRANSPARENT, VARIABLE

VIDEO_TIMEOUT_S, MAX_MEMORY_BYTES = 60.0, 4 << 30
# FFmpeg may decode some frames to find their size.
PROBE_BYTES = 256 << 20
# 16k x 8k: larger than the videos of any generator.
MAX_FRAME_PIXELS = 1 << 27


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
    if backend == "decord" and not has_package("decord"):
        raise UsageError("the video reader decord is not installed", hint="pip install decord")
    return "pyav" if backend == "auto" else backend


class VideoReader:
    """A decoder process that reads clips, and images of servers, whose senders are not trusted.

    `time_limit` in seconds of CPU per clip, `memory_limit` in bytes of address space; `niceness`
    lowers the priority. Thread-safe: one clip at a time. Methods raise MediaError; `memory` bounds
    the bytes that one read adds to the process.
    """

    def __init__(
        self,
        backend: VideoBackend = "auto",
        time_limit: float = VIDEO_TIMEOUT_S,
        memory_limit: int = MAX_MEMORY_BYTES,
        niceness: int = 0,
    ) -> None:
        if backend != "auto":
            choose_backend(backend)
        self.backend: VideoBackend = backend
        self.process = DecoderProcess(time_limit, memory_limit, niceness)
        self.kill, self.close = self.process.kill, self.process.close

    def read(
        self,
        path: Path,
        num_frames: int,
        max_pixels: int = MAX_FRAME_PIXELS,
        sample: Sample = "index",
        memory: int | None = None,
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
            "memory": memory,
        }
        header, pixels = self._ask("clip", path, request)
        remarks = frozenset((VARIABLE,) if header["variable"] and sample == "index" else ())
        frames = torch.from_numpy(pixels).permute(0, 3, 1, 2)
        return Clip(frames, tuple(header["indices"]), remarks)

    def tags(self, path: Path) -> dict[str, str]:
        """Return the texts in the container's metadata, keys as they are stored.

        Invalid UTF-8 becomes U+FFFD. Raises MediaError, also for tags of more than 4 Mi characters.
        """
        header, _ = self._ask("tags", path, {})
        tags: dict[str, str] = header["tags"]
        return tags

    def size(self, path: Path) -> tuple[int, int]:
        """Return the width and height of a video's frames, as its container declares them."""
        header, _ = self._ask("size", path, {"memory": PROBE_BYTES})
        width, height = header["size"]
        return width, height

    def header(self, content: bytes, name: str) -> tuple[Header | None, bool]:
        """Return what `read_header` returns, read in the process, and whether there are frames."""
        request = {"task": "header", "name": name, "memory": PROBE_BYTES}
        answer, _ = self.process.ask(request, name, content)
        header = answer["header"]
        return None if header is None else Header(**header), answer["animated"]

    def image(
        self,
        content: bytes,
        name: str,
        max_pixels: int,
        options: MediaOptions,
        memory: int | None = None,
    ) -> Picture:
        """Return the picture that `load_picture` returns, decoded in the process."""
        request = {"name": name, "max_pixels": max_pixels, "memory": memory}
        request = {"task": "image", "options": options.record(), **request}
        header, pixels = self.process.ask(request, name, content)
        remarks = frozenset((TRANSPARENT,) if header["transparent"] else ())
        return Picture(torch.from_numpy(pixels), remarks)

    def animation(
        self,
        content: bytes,
        name: str,
        num_frames: int,
        options: MediaOptions,
        max_pixels: int,
        memory: int | None = None,
    ) -> Clip:
        """Return the clip that `read_animation` returns, decoded in the process."""
        request = {"name": name, "max_pixels": max_pixels, "memory": memory}
        request = {"task": "animation", "options": options.record(), **request}
        header, pixels = self.process.ask({**request, "num_frames": num_frames}, name, content)
        frames = torch.from_numpy(pixels)
        return Clip(frames, tuple(header["indices"]), frozenset(header["remarks"]))

    def _ask(self, task: str, path: Path, options: dict[str, Any]) -> Response:
        """Return the worker's response; raises the MediaError that the worker reports."""
        if not has_package("av"):
            raise UnsupportedMediaError(
                f"{path}: the package av, which reads videos, is not installed (pip install av)"
            )
        request = {
            "task": task,
            # Absolute, so that FFmpeg cannot read a name as a protocol.
            "path": os.path.abspath(path),  # noqa: PTH100 - keeps undecodable bytes as they are
            "container": check_video_file(path),
            **options,
        }
        return self.process.ask(request, str(path))


class VideoReaders:
    """A pool of `count` video readers, one per thread; each starts its process when first used."""

    def __init__(self, backend: VideoBackend = "auto", count: int = 1) -> None:
        self.backend: VideoBackend = backend
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
