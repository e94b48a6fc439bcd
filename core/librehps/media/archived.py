"""Stored media: a member of a tar, a cell of a Parquet file, or a URL."""

import sys
import threading
from collections import deque
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

from librehps.errors import BrokenMediaError, EmptyFileError, MediaError, MediaNotFoundError
from librehps.media.containers import read_bytes
from librehps.paths import foreign_path, local_name
from librehps.types import Stored

# Rows per batch of a Parquet column, and batches kept for slower worker threads.
CELL_BATCH_ROWS, MAX_CELL_BATCHES = 16, 8
# Error classes, by module, that drivers of remote storage raise in addition to OSError.
DRIVER_ERRORS = {
    "aiohttp": "ClientError",
    "botocore.exceptions": "BotoCoreError",
    "google.api_core.exceptions": "GoogleAPIError",
    "azure.core.exceptions": "AzureError",
    "gcsfs.retry": "HttpError",
}


@dataclass(frozen=True)
class TarMember(Stored):
    """A member of an uncompressed tar: `size` bytes from `offset`."""

    tar: str
    member: str
    offset: int
    size: int

    def read(self) -> bytes:
        try:
            with Path(self.tar).open("rb") as file:
                file.seek(self.offset)
                content = file.read(self.size)
        except FileNotFoundError:
            raise MediaNotFoundError(f"{self.tar} does not exist") from None
        except OSError as error:
            raise MediaError(f"{self.tar} cannot be read: {error}") from error
        if len(content) < self.size:
            raise BrokenMediaError(f"{self} is truncated: {len(content)} of {self.size} bytes")
        return _filled(content, self)

    @property
    def name(self) -> str:
        return self.member

    def __str__(self) -> str:
        return f"{self.tar}::{self.member}"


@dataclass(frozen=True)
class ParquetCell(Stored):
    """A cell of a Parquet column of bytes or of `{bytes, path}` structs, in row `row` from 0.

    `entry` is an index into a column of lists. A cell with a path and without bytes is the file
    at `path`, relative to `root`. `is_repeated`: other rows have the same path.
    """

    file: str
    column: str
    row: int
    path: str = ""
    entry: int | None = None
    root: str = ""
    is_repeated: bool = False

    def read(self) -> bytes:
        value = _column(self.file, self.column).cell(self.row)
        if self.entry is not None:
            if not isinstance(value, list) or self.entry >= len(value):
                raise MediaNotFoundError(f"{self} has no entry {self.entry} (the first is 0)")
            value = value[self.entry]
        content = value.get("bytes") if isinstance(value, dict) else value
        if content is None and self.path and self.root:
            return self._file_content()
        if content is None:
            raise MediaNotFoundError(f"{self} has neither bytes nor a path")
        if not isinstance(content, bytes):
            raise MediaError(f"{self}: expected bytes, got {type(content).__name__}")
        return _filled(content, self)

    def _file_content(self) -> bytes:
        if is_remote(self.path) or is_remote(self.root):
            raise MediaError(f"{self} has no bytes, and its path is remote")
        if reason := foreign_path(self.root, self.path):
            raise MediaNotFoundError(f"{self}: {reason}")
        return read_bytes(Path(self.root, local_name(self.root, self.path)))

    @property
    def name(self) -> str:
        return self.path

    def __str__(self) -> str:
        row = f"{self.row}/" if self.is_repeated and self.path else ""
        return f"{self.file}::{row}{self.path or self.row}"


@dataclass(frozen=True)
class Remote(Stored):
    """A file at a URL, read by the installed fsspec drivers."""

    url: str

    def read(self) -> bytes:
        import fsspec

        try:
            with fsspec.open(self.url, "rb") as file:
                content: bytes = file.read()
        except FileNotFoundError:
            raise MediaNotFoundError(f"{self.url} does not exist") from None
        except driver_errors() as error:
            raise MediaError(f"{self.url} cannot be read: {error}") from error
        return _filled(content, self)

    @property
    def name(self) -> str:
        return PurePosixPath(self.url.split("?")[0].rsplit("::", 1)[-1]).name

    def __str__(self) -> str:
        return self.url


STORED: dict[str, type[Stored]] = {c.__name__: c for c in (TarMember, ParquetCell, Remote)}


def stored_from(record: dict[str, Any]) -> Stored:
    """Return the stored media of a `Stored.record`."""
    fields = dict(record)
    return STORED[fields.pop("in")](**fields)


def is_remote(place: str) -> bool:
    """Return whether `place` is a URL or a chain of URLs, not a local path."""
    return "://" in place


def driver_errors() -> tuple[type[Exception], ...]:
    """Return the error classes that fsspec and its loaded drivers may raise."""
    found = [getattr(sys.modules.get(m), name, None) for m, name in DRIVER_ERRORS.items()]
    loaded = [kind for kind in found if isinstance(kind, type)]
    return (OSError, ValueError, ImportError, RuntimeError, *loaded)


def _filled(content: bytes, stored: Stored) -> bytes:
    if not content:
        raise EmptyFileError(f"{stored} is empty (zero bytes)")
    return content


@lru_cache(maxsize=2)
def _column(file: str, column: str) -> "_ParquetColumn":
    return _ParquetColumn(file, column)


class _ParquetColumn:
    """A Parquet column, read forwards in batches; the latest batches are kept for other threads.

    A row group holds hundreds of images: reading one per cell is too slow, keeping one takes too
    much memory.
    """

    def __init__(self, file: str, column: str) -> None:
        self._file, self._column, self._lock = file, column, threading.Lock()
        self._recent: deque[tuple[int, list[Any]]] = deque(maxlen=MAX_CELL_BATCHES)
        self._batches: Any = None
        self._next = 0

    def cell(self, row: int) -> Any:
        import pyarrow as pa

        with self._lock:
            try:
                return self._find(row)
            except (pa.ArrowException, OSError) as error:
                raise MediaError(f"{self._file} cannot be read: {error}") from error

    def _find(self, row: int) -> Any:
        oldest = self._recent[0][0] if self._recent else self._next
        if self._batches is None or row < oldest:
            self._start(row)
        while row >= self._next:
            batch = next(self._batches, None)
            if batch is None:
                raise MediaNotFoundError(f"{self._file} has no row {row}")
            self._recent.append((self._next, batch.column(0).to_pylist()))
            self._next += batch.num_rows
        return next(v[row - at] for at, v in self._recent if at <= row < at + len(v))

    def _start(self, row: int) -> None:
        """Restart reading at the row group that holds the row."""
        import pyarrow.parquet as pq

        source = pq.ParquetFile(self._file)
        self._recent.clear()
        self._next, group = 0, 0
        while group < source.num_row_groups - 1:
            rows = source.metadata.row_group(group).num_rows
            if self._next + rows > row:
                break
            self._next, group = self._next + rows, group + 1
        groups = list(range(group, source.num_row_groups))
        self._batches = source.iter_batches(
            CELL_BATCH_ROWS, row_groups=groups, columns=[self._column]
        )
