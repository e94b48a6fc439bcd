"""Remote files that can seek: read by ranges, several of them in flight."""

import io
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import BinaryIO, cast

from librehps.errors import StorageError
from librehps.storage.places import shown

BUFFER_BYTES, BLOCK_BYTES = 1 << 16, 1 << 20
# Blocks that are fetched before a reader that goes forward asks for them, and blocks kept.
MAX_AHEAD, MAX_BLOCKS = 8, 20
# Bytes of told ranges that are in flight or wait to be read.
MAX_TOLD_BYTES = 32 << 20

# Returns `size` bytes from `start`, no other number.
Read = Callable[[int, int], bytes]
# (start, end) in bytes.
Range = tuple[int, int]


class RangedFile(io.RawIOBase):
    """A file of `size` bytes, read in blocks; while a reader goes forward, the next are fetched.

    A reader of a table knows its ranges: those that it tells (`tell_ranges`) are fetched in this
    order, without the bytes between them.
    """

    def __init__(self, place: str, size: int, read: Read) -> None:
        super().__init__()
        self.name, self._size, self._read, self._at = shown(place), size, read, 0
        self._blocks: OrderedDict[int, Future[bytes]] = OrderedDict()
        self._told: deque[Range] = deque()
        self._coming: deque[tuple[Range, Future[bytes]]] = deque()
        self._pool: ThreadPoolExecutor | None = None

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
        room = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        if self._at >= self._size or not len(room):
            return 0
        content = self._content(min(len(room), self._size - self._at))
        room[: len(content)] = content
        self._at += len(content)
        return len(content)

    def tell_ranges(self, ranges: Iterable[Range]) -> None:
        """Say which ranges are read next, in this order; each is fetched at once, and kept once."""
        self._told.extend(ranges)
        self._fill()

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None
        self._blocks.clear()
        self._coming.clear()
        super().close()

    def _content(self, length: int) -> memoryview:
        """Return at least one byte and at most `length` bytes from the position."""
        for index, ((start, end), found) in enumerate(self._coming):
            if start <= self._at < end:
                inside = self._at - start
                content = memoryview(found.result())[inside : inside + length]
                # Ranges are read in their order: those before this one were passed.
                for _ in range(index + (self._at + len(content) == end)):
                    self._coming.popleft()
                self._fill()
                return content
        number, inside = divmod(self._at, BLOCK_BYTES)
        return memoryview(self._block(number))[inside : inside + length]

    def _fill(self) -> None:
        """Start to fetch the next told ranges."""
        waiting = sum(end - start for (start, end), _ in self._coming)
        while self._told and len(self._coming) < MAX_AHEAD and waiting < MAX_TOLD_BYTES:
            start, end = self._told.popleft()
            self._coming.append(((start, end), self._submit(start, end)))
            waiting += end - start

    def _block(self, number: int) -> bytes:
        """Return a block; the longer the run of blocks before it, the more are fetched after it."""
        run = 0
        while run < MAX_AHEAD and number - run - 1 in self._blocks:
            run += 1
        if not run and number not in self._blocks:
            self._cancel()
        for at in range(number, number + 1 + run):
            if at not in self._blocks and at * BLOCK_BYTES < self._size:
                end = min((at + 1) * BLOCK_BYTES, self._size)
                self._blocks[at] = self._submit(at * BLOCK_BYTES, end)
        self._blocks.move_to_end(number)
        while len(self._blocks) > MAX_BLOCKS:
            self._blocks.popitem(last=False)
        try:
            return self._blocks[number].result()
        except StorageError:
            # The next read asks again.
            del self._blocks[number]
            raise

    def _cancel(self) -> None:
        """Forget the blocks whose request has not begun: the reader is elsewhere now."""
        for at in [at for at, found in self._blocks.items() if found.cancel()]:
            del self._blocks[at]

    def _submit(self, start: int, end: int) -> "Future[bytes]":
        if self._pool is None:
            self._pool = ThreadPoolExecutor(MAX_AHEAD, "librehps-range")
        return self._pool.submit(self._read, start, end - start)


def open_ranges(place: str, size: int, read: Read) -> BinaryIO:
    """Return a buffered file of `size` bytes; `read(start, size)` returns a range."""
    return cast(BinaryIO, io.BufferedReader(RangedFile(place, size, read), BUFFER_BYTES))
