"""Parquet files, local or at URLs, of which only the needed columns are read."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from librehps.storage.ranges import Range, RangedFile
from librehps.storage.url_path import AnyPath, UrlPath

# Bytes between two column chunks that are read in one request, and the most that one request reads.
MAX_GAP_BYTES, MAX_JOINED_BYTES = 1 << 16, 1 << 24
MAX_KEPT_FOOTERS = 1024
# Takes the columns and the row groups that are read next, None for all.
Expect = Callable[[Sequence[str] | None, Sequence[int] | None], None]


@contextmanager
def open_parquet(file: AnyPath, **options: Any) -> Iterator[tuple[Any, Expect]]:
    """Yield the `pyarrow.parquet.ParquetFile` of a file, and a function to call before rows.

    The function is given the columns and row groups that are read next, in their order: at a URL
    several of their chunks are then fetched at once. The footer of a URL is read once, until the
    file changes. Raises StorageError for a URL that cannot be read.
    """
    import pyarrow.parquet as pq

    if isinstance(file, Path):
        with pq.ParquetFile(file, **options) as source:
            yield source, lambda names, groups: None
        return
    known = {"metadata": footer(file), **options}
    with file.open("rb") as stream, pq.ParquetFile(stream, **known) as source:
        raw = getattr(stream, "raw", None)

        def expect(names: Sequence[str] | None, groups: Sequence[int] | None) -> None:
            if isinstance(raw, RangedFile):
                wanted = range(source.num_row_groups) if groups is None else groups
                raw.tell_ranges(_joined(_chunks(source.metadata, names, wanted)))

        yield source, expect


def footer(file: AnyPath) -> Any:
    """Return the `pyarrow.parquet.FileMetaData` of a file."""
    import pyarrow.parquet as pq

    if isinstance(file, Path):
        return pq.read_metadata(file)
    return _footer(file, file.stamp) if file.stamp else _footer.__wrapped__(file, "")


@lru_cache(maxsize=MAX_KEPT_FOOTERS)
def _footer(file: UrlPath, stamp: str) -> Any:
    import pyarrow.parquet as pq

    with file.open("rb") as stream:
        return pq.read_metadata(stream)


def _chunks(metadata: Any, names: Sequence[str] | None, groups: Sequence[int]) -> Iterator[Range]:
    """Yield the byte ranges of the named columns, one row group after the other."""
    for group in map(metadata.row_group, groups):
        for chunk in map(group.column, range(group.num_columns)):
            path = chunk.path_in_schema
            if names is None or any(path == n or path.startswith(f"{n}.") for n in names):
                start = chunk.data_page_offset
                if chunk.has_dictionary_page and chunk.dictionary_page_offset:
                    start = min(start, chunk.dictionary_page_offset)
                yield start, start + chunk.total_compressed_size


def _joined(ranges: Iterator[Range]) -> Iterator[Range]:
    """Yield the ranges, with neighbours as one."""
    last: Range | None = None
    for start, end in ranges:
        if last is not None:
            gap, size = start - last[1], end - last[0]
            if 0 <= gap <= MAX_GAP_BYTES and size <= MAX_JOINED_BYTES:
                last = last[0], end
                continue
            yield last
        last = start, end
    if last is not None:
        yield last
