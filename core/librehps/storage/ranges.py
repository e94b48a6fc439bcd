"""A remote file that can seek, read by ranges through a buffer."""

import io
from collections.abc import Callable
from typing import BinaryIO, cast

# Bytes of one request for small reads; a larger read is one request.
BUFFER_BYTES = 1 << 20


class _Ranges(io.RawIOBase):
    def __init__(self, place: str, size: int, read: Callable[[str, int, int], bytes]) -> None:
        self._place, self._size, self._read, self._at = place, size, read, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        if start + offset < 0:
            raise ValueError(f"negative position {start + offset}")
        self._at = start + offset
        return self._at

    def readinto(self, buffer: object) -> int:
        target = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        size = min(len(target), max(0, self._size - self._at))
        content = self._read(self._place, self._at, size) if size else b""
        target[: len(content)] = content
        self._at += len(content)
        return len(content)


def open_ranges(place: str, size: int, read: Callable[[str, int, int], bytes]) -> BinaryIO:
    """Return a buffered file of `size` bytes; `read(place, start, size)` returns a range."""
    return cast(BinaryIO, io.BufferedReader(_Ranges(place, size, read), BUFFER_BYTES))
