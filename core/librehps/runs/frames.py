"""A file of frames: byte strings with a length and a checksum, appended one after the other."""

import errno
import logging
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from librehps.files import sync_open

log = logging.getLogger("librehps")

# Mark, length of the payload, checksum of the payload, checksum of the three fields before.
_HEADER = struct.Struct("<8sQII")
_MARK = b"\xf5LHPSrow"


class Frame(NamedTuple):
    """The place of a frame's payload in its file."""

    offset: int
    length: int
    checksum: int


class DamagedFrameError(OSError):
    """The bytes of a frame on disk are not those that were written."""


def framed(payload: bytes | memoryview, checksum: int) -> bytes:
    """Return the bytes of a frame with this payload, of which `checksum` is the CRC-32."""
    fields = struct.pack("<8sQI", _MARK, len(payload), checksum)
    return b"".join((fields, struct.pack("<I", zlib.crc32(fields)), payload))


def payload_of(data: bytes) -> memoryview:
    """Return the payload of a file of one frame; raises ValueError for any other bytes."""
    if len(data) >= _HEADER.size:
        mark, length, checksum, own = _HEADER.unpack_from(data)
        payload = memoryview(data)[_HEADER.size :]
        is_header = mark == _MARK and zlib.crc32(data[: _HEADER.size - 4]) == own
        if is_header and len(payload) == length and zlib.crc32(payload) == checksum:
            return payload
    raise ValueError("its checksum differs")


def whole_frames(data: bytes) -> Iterator[bytes]:
    """Yield the payloads at the start of a file of frames, up to the first incomplete frame."""
    at = 0
    while at + _HEADER.size <= len(data):
        _, length, _, _ = _HEADER.unpack_from(data, at)
        at += _HEADER.size + length
        if at <= len(data):
            yield data[at - length : at]


class FrameFile:
    """An append-only file of frames.

    An appended frame survives a kill of this process, and after `sync` a power loss. Methods raise
    OSError.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        # Unbuffered, so that the operating system has a frame once `append` returns.
        self._file = path.open("a+b", buffering=0)
        self.size = path.stat().st_size
        # A process that was killed may not have flushed what it wrote.
        self._is_synced = False

    def recover(self) -> Iterator[tuple[Frame, bytes]]:
        """Yield each whole frame, and cut off an incomplete last frame.

        Damaged bytes between whole frames are skipped with a warning.
        """
        end, damaged = 0, 0
        while (found := self._next(end)) is not None:
            frame, payload, skipped = found
            damaged += skipped
            end = frame.offset + frame.length
            yield frame, payload
        if damaged:
            log.warning(
                "warning: %s: skipped %d damaged bytes; their rows are scored again",
                self.path,
                damaged,
            )
        if end < self.size:
            self._file.truncate(end)
            self.size = end

    def append(self, payload: bytes | memoryview) -> Frame:
        """Append a frame with this payload; after an error the file is as before."""
        frame = Frame(self.size + _HEADER.size, len(payload), zlib.crc32(payload))
        data = framed(payload, frame.checksum)
        self._is_synced = False
        try:
            if self._file.write(data) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            self._file.truncate(self.size)
            raise
        self.size += len(data)
        return frame

    def read(self, frame: Frame) -> bytes:
        """Return the payload of a frame; raises DamagedFrameError."""
        payload = self._read(frame.offset, frame.length)
        if len(payload) != frame.length or zlib.crc32(payload) != frame.checksum:
            raise DamagedFrameError(errno.EIO, f"damaged bytes at {frame.offset}")
        return payload

    def clear(self) -> None:
        """Remove all frames."""
        self._file.truncate(0)
        self.size, self._is_synced = 0, False

    def sync(self) -> None:
        """Flush the appended frames to the disk, if there are any since the last call."""
        if not self._is_synced:
            sync_open(self._file.fileno(), self.path)
            self._is_synced = True

    def close(self) -> None:
        self._file.close()

    def _read(self, offset: int, length: int) -> bytes:
        self._file.seek(offset)
        return self._file.read(length)

    def _next(self, start: int) -> tuple[Frame, bytes, int] | None:
        """Return the first whole frame from `start` on, its payload, and the bytes skipped."""
        at = start
        while (at := self._mark(at)) >= 0:
            fields = self._read(at, _HEADER.size)
            if len(fields) == _HEADER.size:
                _, length, checksum, own = _HEADER.unpack(fields)
                offset = at + _HEADER.size
                is_header = zlib.crc32(fields[:-4]) == own
                if is_header and offset + length <= self.size:
                    payload = self._read(offset, length)
                    if zlib.crc32(payload) == checksum:
                        return Frame(offset, length, checksum), payload, at - start
            at += 1
        return None

    def _mark(self, start: int) -> int:
        """Return the place of the next frame's mark, -1 if there is none."""
        step = 1 << 20
        while start < self.size:
            block = self._read(start, step + len(_MARK) - 1)
            if (found := block.find(_MARK)) >= 0:
                return start + found
            start += step
        return -1
