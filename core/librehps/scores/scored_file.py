"""Scored files whose columns are read when they are needed, a batch of rows at a time."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from librehps.rowfiles.parquet_file import open_parquet
from librehps.scores.media_folder import URL
from librehps.storage.url_path import AnyPath

MEDIA = "media"
Mask = NDArray[np.bool_]
BATCH_ROWS = 65_536
# Texts of a Parquet file that take fewer bytes a row are stored as a dictionary.
MAX_REPEATED_BYTES = 4


class ScoredFile(Protocol):
    """The rows of one file: their `schema` and number, and batches of some columns.

    `batches` yields the rows of the mask `kept` (None: all) in order. With `encoded`, text columns
    may be dictionaries, which repeated texts make several times faster.
    """

    schema: Any
    rows: int
    nbytes: int

    def batches(
        self, names: Sequence[str], kept: Mask | None = None, encoded: bool = False
    ) -> Iterator[Any]: ...


class ParquetRows:
    """The rows of a Parquet file; `nbytes` is their size before compression.

    Raises ValueError for duplicate columns, which cannot be read apart from each other.
    """

    def __init__(self, path: AnyPath) -> None:
        self._path = path
        with open_parquet(path) as (file, _):
            self._metadata, self.schema = file.metadata, file.schema_arrow
        doubles = [name for name, n in Counter(self.schema.names).items() if n > 1]
        if doubles:
            raise ValueError(f"duplicate columns: {', '.join(doubles)}")
        self.rows: int = self._metadata.num_rows
        groups = map(self._metadata.row_group, range(self._metadata.num_row_groups))
        self._sizes = [(group.num_rows, group.total_byte_size) for group in groups]
        self.nbytes = sum(size for _, size in self._sizes)

    def batches(
        self, names: Sequence[str], kept: Mask | None = None, encoded: bool = False
    ) -> Iterator[Any]:
        # Repeated texts are read faster as a dictionary, also if most rows are then left out.
        texts = [] if kept is None and not encoded else [n for n in names if n in self._repeated]
        wanted = list[tuple[int, Mask | None]]()
        first = 0
        for group, (rows, _) in enumerate(self._sizes):
            mask = None if kept is None else kept[first : first + rows]
            first += rows
            if mask is None or mask.any():
                wanted.append((group, mask))
        options = {"metadata": self._metadata, "read_dictionary": texts, "pre_buffer": False}
        with open_parquet(self._path, **options) as (file, expect):
            expect(names, [group for group, _ in wanted])
            for group, mask in wanted:
                found = masked(file.iter_batches(BATCH_ROWS, [group], columns=list(names)), mask)
                yield from found if encoded else (_decoded(batch, texts) for batch in found)

    @cached_property
    def _repeated(self) -> set[str]:
        """The text columns whose values repeat so often that they take few bytes each."""
        used: Counter[str] = Counter()
        for group in map(self._metadata.row_group, range(self._metadata.num_row_groups)):
            for column in map(group.column, range(group.num_columns)):
                used[column.path_in_schema] += column.total_uncompressed_size
        most = MAX_REPEATED_BYTES * self.rows
        texts = [field.name for field in self.schema if is_text(field.type)]
        return {name for name in texts if used[name] <= most}


def _decoded(batch: Any, names: Sequence[str]) -> Any:
    """Return the batch with texts in place of dictionaries."""
    for name in names:
        at = batch.schema.get_field_index(name)
        if pa.types.is_dictionary((column := batch.column(at)).type):
            batch = batch.set_column(at, name, column.cast(column.type.value_type))
    return batch


class TableRows:
    """The rows of an Arrow table in memory."""

    def __init__(self, table: Any) -> None:
        self._table = table
        self.schema, self.rows, self.nbytes = table.schema, len(table), table.nbytes

    def batches(
        self, names: Sequence[str], kept: Mask | None = None, encoded: bool = False
    ) -> Iterator[Any]:
        found = self._table.select(list(names)).to_batches(max_chunksize=BATCH_ROWS)
        yield from masked(found, kept)


class StoredRows:
    """The rows of an Arrow table in a file that this class writes."""

    def __init__(self, table: Any, path: Path) -> None:
        self._path = path
        self.schema, self.rows, self.nbytes = table.schema, len(table), table.nbytes
        options = pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False)
        with (
            pa.OSFile(str(path), "wb") as sink,
            pa.ipc.new_file(sink, table.schema, options=options) as writer,
        ):
            writer.write_table(table, BATCH_ROWS)
        # The batches of the file are those of this table, of at most BATCH_ROWS rows.
        self._sizes = [len(batch) for batch in table.to_batches(max_chunksize=BATCH_ROWS)]

    def batches(
        self, names: Sequence[str], kept: Mask | None = None, encoded: bool = False
    ) -> Iterator[Any]:
        places = [self.schema.get_field_index(name) for name in names]
        options = pa.ipc.IpcReadOptions(included_fields=places, use_threads=False)
        with (
            pa.OSFile(str(self._path)) as source,
            pa.ipc.open_file(source, options=options) as reader,
        ):
            first = 0
            for number, rows in enumerate(self._sizes):
                mask = None if kept is None else kept[first : first + rows]
                first += rows
                if mask is None or mask.any():
                    found = iter([reader.get_batch(number).select(list(names))])
                    yield from masked(found, mask)


class AbsoluteMedia:
    """The rows of a scored file, with relative paths in the column media made absolute."""

    def __init__(self, file: ScoredFile, folder: str) -> None:
        self._file, self._folder = file, folder
        self.rows, self.nbytes, self.schema = file.rows, file.nbytes, file.schema
        at = self.schema.get_field_index(MEDIA)
        if at >= 0:
            self.schema = self.schema.set(at, self.schema.field(at).with_type(pa.string()))

    def batches(
        self, names: Sequence[str], kept: Mask | None = None, encoded: bool = False
    ) -> Iterator[Any]:
        for batch in self._file.batches(names, kept, encoded):
            at = batch.schema.get_field_index(MEDIA)
            if at < 0:
                yield batch
            else:
                whole = absolute_media(batch.column(at), self._folder)
                yield batch.set_column(at, MEDIA, whole)


def absolute_media(media: Any, folder: str) -> Any:
    """Return an Arrow column of media as absolute paths and URLs; relative ones lie in `folder`."""
    media = media.cast(pa.string())
    is_whole = pc.or_(pc.starts_with(media, os.sep), pc.match_substring(media, URL))
    whole = pc.binary_join_element_wise(folder, media, os.sep)
    return pc.if_else(is_whole, media, whole)


def masked(batches: Iterator[Any], kept: Mask | None) -> Iterator[Any]:
    """Yield the rows of the batches that the mask keeps, without empty batches."""
    first = 0
    for batch in batches:
        mask = None if kept is None else kept[first : first + len(batch)]
        first += len(batch)
        if mask is None or mask.all():
            yield batch
        elif mask.any():
            yield batch.filter(pa.array(mask))


def is_text(kind: Any) -> bool:
    """Return True for the type of a text column."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))
