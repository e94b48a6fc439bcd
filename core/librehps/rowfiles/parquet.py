"""Rows of Parquet files, without the bytes of images and videos."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from librehps.rowfiles.base import Placed, RowError, Schema, check_distinct
from librehps.rowfiles.blocks import Table
from librehps.rowfiles.nanoseconds import python_values
from librehps.rowfiles.parquet_file import open_parquet
from librehps.storage.url_path import AnyPath

BATCH_ROWS = 1024
COPY_HINT = "If it should be whole, copy or download it again."


def parquet_schema(file: AnyPath) -> Schema:
    """Return the columns of a Parquet file."""
    import pyarrow as pa

    try:
        with open_parquet(file) as (source, _):
            schema = source.schema_arrow
            check_distinct(schema.names, str(file))
            empty = _paths_only(source)
    except (pa.ArrowException, ValueError) as error:
        raise RowError(f"{file} cannot be read: {error}", hint=COPY_HINT) from error
    binary = frozenset(f.name for f in schema if is_binary(f.type) and f.name not in empty)
    return Schema(schema.names, binary, frozenset(f.name for f in schema if _is_list(f.type)))


def parquet_rows(file: AnyPath, names: Sequence[str] | None) -> Iterator[Placed]:
    """Yield (position, row); with `names`, only these columns, and no bytes of a binary column."""
    for block in parquet_blocks(file, names):
        yield from block.placed()


def parquet_blocks(file: AnyPath, names: Sequence[str] | None) -> Iterator[Table]:
    """Yield the same rows in blocks, by column."""
    import pyarrow as pa

    try:
        # With a buffer, what was read of all row groups stays in memory; requests to a URL need it.
        with open_parquet(file, pre_buffer=not isinstance(file, Path)) as (source, expect):
            check_distinct(source.schema_arrow.names, str(file))
            wanted = None if names is None else _without_bytes(source, names)
            expect(wanted, None)
            number = 0
            for batch in source.iter_batches(BATCH_ROWS, columns=wanted):
                values = map(python_values, batch.columns)
                columns = dict(zip(batch.schema.names, values, strict=True))
                yield Table(columns, range(number, number + len(batch)), f"{file}, row ")
                number += len(batch)
    except (pa.ArrowException, ValueError) as error:
        raise RowError(f"{file} cannot be read: {error}", hint=COPY_HINT) from error


def _without_bytes(source: Any, names: Sequence[str]) -> list[str]:
    """Return the Parquet columns to read: of a binary column only the paths."""
    leaves = [source.schema.column(at).path for at in range(len(source.schema))]
    found = []
    for name in names:
        if is_binary(source.schema_arrow.field(name).type):
            found += [leaf for leaf in leaves
                      if leaf.startswith(f"{name}.") and leaf.endswith(".path")]  # fmt: skip
        else:
            found.append(name)
    return found


def _paths_only(source: Any) -> set[str]:
    """Return the names of `{bytes, path}` columns whose bytes are null in every row.

    Writers count the nulls of each column; without the count a column is not returned.
    """
    schema, counts = source.schema_arrow, dict[str, int]()
    for group in range(source.num_row_groups):
        chunks = source.metadata.row_group(group)
        for at in range(chunks.num_columns):
            found = chunks.column(at).statistics
            nulls = found.null_count if found is not None and found.has_null_count else 0
            name = chunks.column(at).path_in_schema
            counts[name] = counts.get(name, 0) + nulls
    rows = source.metadata.num_rows
    return {f.name for f in schema if not _is_list(f.type) and is_binary(f.type)
            and rows and counts.get(f"{f.name}.bytes") == rows}  # fmt: skip


def is_binary(kind: Any) -> bool:
    """Return whether an Arrow type holds bytes: alone, in a `{bytes, path}` struct, or in lists."""
    import pyarrow.types as types

    if _is_list(kind):
        return is_binary(kind.value_type)
    if types.is_dictionary(kind):
        return is_binary(kind.value_type)
    if types.is_struct(kind):
        return any(kind.field(at).name == "bytes" for at in range(kind.num_fields))
    return bool(
        types.is_binary(kind)
        or types.is_large_binary(kind)
        or types.is_fixed_size_binary(kind)
        or (hasattr(types, "is_binary_view") and types.is_binary_view(kind))
    )


def _is_list(kind: Any) -> bool:
    import pyarrow.types as types

    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))
