"""Cells of a Parquet column of media, read forwards in batches."""

import os
import threading
from bisect import bisect_right
from collections import OrderedDict, deque
from contextlib import ExitStack
from functools import lru_cache
from typing import Any

from librehps.errors import MediaError, MediaNotFoundError
from librehps.media.faults import reading
from librehps.storage import store
from librehps.storage.faults import changed_fault
from librehps.storage.places import is_remote, shown
from librehps.storage.store import Stat

# Rows per batch of a column, and batches kept for slower threads.
CELL_BATCH_ROWS, MAX_CELL_BATCHES = 16, 8
# Row groups that are open at one time: threads at the border of two must not read them in turns.
MAX_OPEN_GROUPS = 3
# Bytes of one request, where the file is at a URL.
REQUEST_BYTES = 8 << 20


def column_of(file: str, column: str) -> "ParquetColumn":
    """Return the column of a Parquet file at a path or URL, which all threads share.

    A local file that changed, or that a relative path now names, is read again; one at a URL after
    `forget_columns`. Raises MediaError.
    """
    if is_remote(file):
        return _shared(file, column, ())
    with reading():
        found = store.stat(file)
    return _shared(os.path.abspath(file), column, (found.size, found.stamp), file)  # noqa: PTH100


@lru_cache(maxsize=2)
def _shared(place: str, column: str, stamp: tuple[object, ...], name: str = "") -> "ParquetColumn":
    return ParquetColumn(name or place, column)


def forget_columns() -> None:
    """Read the files anew: a list of cells holds for the file as it is when the list is made."""
    _shared.cache_clear()


class ParquetColumn:
    """A column of media; the threads that read one row group take turns, others do not wait.

    A file at a URL that is replaced in the meantime is an error.
    """

    def __init__(self, file: str, column: str) -> None:
        self._file, self._column = file, column
        self._metadata: Any = None
        self._found: Stat | None = None
        self._starts: list[int] = []
        self._groups: OrderedDict[int, _Group] = OrderedDict()
        # Held for the footer of the file, then only to look up a row group.
        self._lock = threading.Lock()

    def cell(self, row: int) -> Any:
        """Return the value of a cell; raises MediaError."""
        import pyarrow as pa

        try:
            with reading():
                return self._group(row).cell(row)
        except (pa.ArrowException, OSError) as error:
            raise MediaError(f"{shown(self._file)} cannot be read: {error}") from error

    def _group(self, row: int) -> "_Group":
        import pyarrow.parquet as pq

        with self._lock:
            if self._metadata is None:
                self._found = store.stat(self._file)
                with store.opened(self._file, self._found) as file:
                    self._metadata = pq.read_metadata(file)
                self._starts = _starts(self._metadata)
            if not 0 <= row < self._metadata.num_rows:
                raise MediaNotFoundError(f"{shown(self._file)} has no row {row}")
            index = bisect_right(self._starts, row) - 1
            if index not in self._groups:
                first = self._starts[index]
                version = (self._file, self._found, self._metadata)
                self._groups[index] = _Group(*version, index, self._column, first)
            self._groups.move_to_end(index)
            while len(self._groups) > MAX_OPEN_GROUPS:
                self._groups.popitem(last=False)
            return self._groups[index]


def _starts(metadata: Any) -> list[int]:
    """Return the first row of each row group."""
    starts, row = [], 0
    for index in range(metadata.num_row_groups):
        starts.append(row)
        row += metadata.row_group(index).num_rows
    return starts


class _Group:
    """A column of one row group, read forwards in batches; the latest batches are kept.

    A row group holds hundreds of images: reading one per cell is too slow, keeping one takes too
    much memory.
    """

    def __init__(
        self, file: str, found: Stat | None, metadata: Any, index: int, column: str, first: int
    ) -> None:
        self._file, self._found, self._metadata = file, found, metadata
        self._index, self._column, self._first = index, column, first
        self._lock = threading.Lock()
        self._recent: deque[tuple[int, Any]] = deque(maxlen=MAX_CELL_BATCHES)
        self._open = ExitStack()
        self._batches: Any = None
        self._next = first
        self._end = first + metadata.row_group(index).num_rows

    def cell(self, row: int) -> Any:
        with self._lock:
            at, values = self._find(row)
        # Outside the lock: the bytes of an image are copied here.
        return values[row - at].as_py()

    def _find(self, row: int) -> tuple[int, Any]:
        oldest = self._recent[0][0] if self._recent else self._next
        if row < oldest or (self._batches is None and row >= self._next):
            self._start()
        while row >= self._next:
            # An error ends the batches for good: the next call then starts again.
            batches, self._batches = self._batches, None
            batch = next(batches, None)
            if batch is None:
                raise MediaNotFoundError(f"{shown(self._file)} has no row {row}")
            self._batches = batches
            self._recent.append((self._next, batch.column(0)))
            self._next += batch.num_rows
            if self._next >= self._end:
                # The reader holds the bytes of the whole row group.
                self._batches = None
                self._open.close()
        return next((at, v) for at, v in self._recent if at <= row < at + len(v))

    def _start(self) -> None:
        import pyarrow.parquet as pq

        self._batches = None
        self._open.close()
        self._recent.clear()
        opened: Any = self._file
        if is_remote(self._file):
            now = store.stat(self._file)
            if now != self._found:
                raise changed_fault(self._file)
            opened = self._open.enter_context(store.opened(self._file, now))
        buffer = REQUEST_BYTES if is_remote(self._file) else 0
        source = pq.ParquetFile(opened, metadata=self._metadata, buffer_size=buffer)
        self._next, groups = self._first, [self._index]
        self._batches = source.iter_batches(CELL_BATCH_ROWS, groups, columns=[self._column])
