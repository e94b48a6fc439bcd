"""Stored media: a member of a tar, a cell of a Parquet file, or a URL."""

from dataclasses import dataclass
from typing import Any

from librehps.errors import BrokenMediaError, EmptyFileError, MediaError, MediaNotFoundError
from librehps.media.containers import read_bytes
from librehps.media.faults import reading
from librehps.media.parquet_column import column_of
from librehps.paths import foreign_path, local_path
from librehps.storage import store
from librehps.storage.places import is_remote as is_remote
from librehps.storage.places import name_of, shown
from librehps.storage.url_path import UrlPath
from librehps.types import Stored


@dataclass(frozen=True)
class TarMember(Stored):
    """A member of an uncompressed tar: `size` bytes from `offset`."""

    tar: str
    member: str
    offset: int
    size: int

    def read(self) -> bytes:
        with reading():
            content = store.read_range(self.tar, self.offset, self.size)
        if len(content) < self.size:
            raise BrokenMediaError(f"{self} is truncated: {len(content)} of {self.size} bytes")
        return _filled(content, self)

    @property
    def name(self) -> str:
        return self.member

    @property
    def place(self) -> str:
        return self.tar

    def __str__(self) -> str:
        return f"{shown(self.tar)}::{self.member}"


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
        value = column_of(self.file, self.column).cell(self.row)
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
        if is_remote(self.path):
            raise MediaError(f"{self} has no bytes, and its path is remote")
        if is_remote(self.root):
            found = UrlPath(self.root).below(self.path)
            if found is None:
                raise MediaNotFoundError(f"{self}: its path leads out of {shown(self.root)}")
            return Remote(found.url).read()
        if reason := foreign_path(self.root, self.path):
            raise MediaNotFoundError(f"{self}: {reason}")
        return read_bytes(local_path(self.root, self.path))

    @property
    def name(self) -> str:
        return self.path

    @property
    def place(self) -> str:
        return self.file

    def __str__(self) -> str:
        row = f"{self.row}/" if self.is_repeated and self.path else ""
        return f"{shown(self.file)}::{row}{self.path or self.row}"


@dataclass(frozen=True)
class Remote(Stored):
    """A file at a URL; messages and rows name it without what grants access."""

    url: str

    def read(self) -> bytes:
        with reading():
            content = store.read(self.url)
        return _filled(content, self)

    @property
    def name(self) -> str:
        return name_of(self.url)

    @property
    def place(self) -> str:
        return self.url

    def __str__(self) -> str:
        return shown(self.url)


STORED: dict[str, type[Stored]] = {c.__name__: c for c in (TarMember, ParquetCell, Remote)}


def stored_from(record: dict[str, Any]) -> Stored:
    """Return the stored media of a `Stored.record`."""
    fields = dict(record)
    return STORED[fields.pop("in")](**fields)


def _filled(content: bytes, stored: Stored) -> bytes:
    if not content:
        raise EmptyFileError(f"{stored} is empty (zero bytes)")
    return content
