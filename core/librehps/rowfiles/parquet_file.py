"""Parquet files, local or at URLs, of which only the needed columns are read."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from librehps.storage.ranges import Range, RangedFile
from librehps.storage.url_path import AnyPath

# Bytes between two column chunks that are read in one request, and the most that one request reads.
MAX_GAP_BYTES, MAX_JOINED_BYTES = 1 << 16, 1 << 24
# Takes the columns that are read next, None for all.
Expect = Callable[[Sequence[str] | None], None]


@contextmanager
def open_parquet(file: AnyPath) -> Iterator[tuple[Any, Expect]]:
    """Yield the `pyarrow.parquet.ParquetFile` of a file, and a function to call before rows.

    The function is given the columns that are read from the first row group to the last: at a URL
    several of their chunks are then fetched at once.
    """
    import pyarrow.parquet as pq

    if isinstance(file, Path):
        with pq.ParquetFile(file) as source:
            yield source, lambda names: None
        return
    with file.open("rb") as stream, pq.ParquetFile(stream) as source:
        raw = getattr(stream, "raw", None)

        def expect(names: Sequence[str] | None) -> None:
            if isinstance(raw, RangedFile):
                raw.tell_ranges(_joined(_chunks(source.metadata, names)))

        yield source, expect


def _chunks(metadata: Any, names: Sequence[str] | None) -> Iterator[Range]:
    """Yield the byte ranges of the named columns, one row group after the other."""
    for group in map(metadata.row_group, range(metadata.num_row_groups)):
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
