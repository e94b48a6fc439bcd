"""The rows of a run on disk, in groups of Arrow columns that survive a kill."""

import struct
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from librehps.errors import OutputError
from librehps.files import sync
from librehps.runs.frames import DamagedFrameError, Frame, FrameFile
from librehps.runs.listed_columns import ListedColumns, taken
from librehps.runs.row_groups import group_payload, group_table
from librehps.runs.row_status import ERROR, OK
from librehps.scores.columns import INDEX
from librehps.scores.row_batch import RowSchema
from librehps.scores.scored_rows import ScoredRows
from librehps.types import ScoredRow

GROUP_ROWS = 4096
# Rows that are read at once, in the order of the listing.
CHUNK_ROWS = 16_384
MAX_CACHED_GROUPS = 16
# The key of each of some rows in the score cache, None for a row without one.
Keys = list[bytes | None]
GROUPS_FILE, NEWEST_FILE = "rows.groups", "rows.newest"
# Before each batch of the newest rows: the number of its first row among all rows.
_NUMBER = struct.Struct("<Q")


class RowStore:
    """The rows of a run; `status` holds NEW, OK or ERROR for each item.

    `rows.groups` holds groups of rows, `rows.newest` the rows of each `append` that are not in a
    group yet; many rows at once become a group. A later row with the same index replaces the
    earlier one. Columns that `listed` has are read from the listing.
    Methods raise OSError.
    """

    def __init__(
        self,
        folder: Path,
        schema: RowSchema,
        status: bytearray,
        listed: ListedColumns | None = None,
    ) -> None:
        self.schema, self.status, self._listed = schema, status, listed
        # The number of each item's row among all rows in the order of `append`, -1 for none.
        self._numbers = np.full(len(status), -1, np.int64)
        self._groups = FrameFile(folder / GROUPS_FILE)
        self._newest = FrameFile(folder / NEWEST_FILE)
        # The names of new files.
        sync(folder)
        self._frames: list[Frame] = []
        # The number of the first row of each group, and of the first row of `_waiting`.
        self._starts = array("q", [0])
        self._waiting: list[Any] = []
        # With `keeps_keys`: number of the first row and keys of each batch, until they are taken.
        self.keeps_keys = False
        self._keys: list[tuple[int, Keys]] = []
        self._cached = lru_cache(MAX_CACHED_GROUPS)(self._table)
        for frame, payload in self._groups.recover():
            self._note(frame, group_table(payload, (INDEX, "status")))
        for _, payload in self._newest.recover():
            # A kill or a power loss can leave rows here that are in a group already.
            if _NUMBER.unpack_from(payload)[0] >= self._starts[-1]:
                self._wait(newest_batch(payload, schema))

    def __len__(self) -> int:
        """Return the number of rows that were appended, also of those that later ones replace."""
        waiting: int = sum(batch.num_rows for batch in self._waiting)
        return self._starts[-1] + waiting

    def append(self, indices: Sequence[int], rows: Sequence[ScoredRow]) -> None:
        """Append rows with these indices; they survive a kill, and after `sync` a power loss."""
        places = np.asarray(indices)
        listed = () if self._listed is None else self._listed.names(places)
        self.append_batch(self.schema.batch(places, rows, listed), _keys_of(rows))

    def append_batch(self, batch: Any, keys: Keys | None = None) -> None:
        """Append an Arrow batch of the schema like `append`; `keys` of the rows, if known."""
        is_group = not self._waiting and batch.num_rows >= GROUP_ROWS // 2
        first = len(self)
        if not is_group:
            # A power loss must not keep newer rows than those of a group that it takes.
            self._groups.sync()
            self._newest.append(_NUMBER.pack(first) + memoryview(batch.serialize()))
        self._wait(batch)
        if self.keeps_keys and keys is not None:
            self._keys.append((first, keys))
        if is_group or len(self) - self._starts[-1] >= GROUP_ROWS:
            self._make_group()

    def sync(self) -> None:
        """Flush the appended rows to the disk."""
        self._groups.sync()
        self._newest.sync()

    def close(self) -> None:
        self._groups.close()
        self._newest.close()

    def has_row(self, start: int, end: int) -> Any:
        """Return for each item from index `start` to `end` (exclusive) if the store has its row."""
        return self._numbers[start:end] >= 0

    def rows(self, indices: Any, names: Sequence[str]) -> Any:
        """Return the named columns of the rows with these indices, as an Arrow table.

        Raises OutputError if an item has no row.
        """
        numbers = self._numbers[indices]
        if lacking := int((numbers < 0).sum()):
            raise OutputError(
                f"{self._groups.path}: {lacking} items have no row", "Score them with --resume."
            )
        groups, places = self.places(numbers)
        used, which = np.unique(groups, return_inverse=True)
        stored = self._stored(names)
        tables = [self._cached(at, stored) for at in used.tolist()]
        starts = np.cumsum([0, *map(len, tables)])[which]
        return self._with_listed(taken(pa.concat_tables(tables), starts + places), names)

    def in_order(self, names: Sequence[str]) -> Iterator[Any]:
        """Yield tables of the named columns of all rows, in the order of the listing."""
        for start in range(0, len(self.status), CHUNK_ROWS):
            end = min(start + CHUNK_ROWS, len(self.status))
            yield self.rows(np.arange(start, end), names)

    def there(self, names: Sequence[str]) -> Iterator[tuple[Any, Any]]:
        """Yield (indices, the named columns) of the rows that exist, in the listing's order."""
        for start in range(0, len(self.status), CHUNK_ROWS):
            end = min(start + CHUNK_ROWS, len(self.status))
            indices = start + np.flatnonzero(self.has_row(start, end))
            if len(indices):
                yield indices, self.rows(indices, names)

    @property
    def whole_groups(self) -> int:
        """The number of groups that are complete; one more holds the newest rows."""
        return len(self._frames)

    def group(self, at: int, names: Sequence[str]) -> tuple[int, Any]:
        """Return (number of the first row, the named columns) of a group."""
        return self._starts[at], self._with_listed(self._table(at, self._stored(names)), names)

    def take_keys(self) -> list[tuple[int, Keys]]:
        """Return and forget (number of the first row, keys) of batches whose keys are known."""
        taken, self._keys = self._keys, []
        return taken

    def places(self, numbers: Any) -> tuple[Any, Any]:
        """Return the group of each row number, and the place in its group."""
        # A copy: an array cannot grow while its memory is in use.
        starts = np.array(self._starts)
        groups = np.searchsorted(starts, numbers, "right") - 1
        return groups, numbers - starts[groups]

    def error_types(self) -> Counter[str]:
        """Return the number of failed rows by error type."""
        found: Counter[str] = Counter()
        for at in range(self.whole_groups + 1):
            start, table = self.group(at, (INDEX, "status", "error_type"))
            numbers = np.arange(start, start + len(table))
            is_current = self._numbers[table[INDEX].to_numpy()] == numbers
            failed = table.filter(pc.and_(pa.array(is_current), pc.equal(table["status"], "error")))
            for count in pc.value_counts(failed["error_type"].combine_chunks()).to_pylist():
                found[count["values"]] += count["counts"]
        return found

    def _read(self, frame: Frame) -> bytes:
        try:
            return self._groups.read(frame)
        except DamagedFrameError as error:
            hint = "Continue with --resume: the damaged rows are scored again."
            raise OutputError(f"{self._groups.path}: {error.strerror}", hint) from error

    def _stored(self, names: Sequence[str]) -> tuple[str, ...]:
        """Return the stored columns from which `_with_listed` makes the named ones."""
        added = (INDEX, "id") if self._in_listing(names) else ()
        return tuple(dict.fromkeys((*names, *added)))

    def _in_listing(self, names: Sequence[str]) -> list[str]:
        """Return those of the columns that the listing may have."""
        return [] if self._listed is None else [n for n in names if n in self._listed.types]

    def _table(self, at: int, names: tuple[str, ...]) -> Any:
        """Return the stored columns of a group's rows."""
        if at == len(self._frames):
            return pa.Table.from_batches(self._waiting, self.schema.arrow).select(names)
        return group_table(self._read(self._frames[at]), names)

    def _with_listed(self, table: Any, names: Sequence[str]) -> Any:
        """Return the named columns of stored rows; rows without id take those of the listing."""
        if self._listed is not None and (asked := self._in_listing(names)):
            table = self._listed.filled(table, table[INDEX].to_numpy(), asked)
        return table.select(names)

    def _wait(self, batch: Any) -> None:
        self._index(batch, len(self))
        self._waiting.append(batch)

    def _note(self, frame: Frame, table: Any) -> None:
        self._index(table, self._starts[-1])
        self._frames.append(frame)
        self._starts.append(self._starts[-1] + len(table))

    def _index(self, table: Any, first: int) -> None:
        """Note the status and the number of each row; `first` is the number of the first row."""
        indices = table.column(INDEX).to_numpy()
        self._numbers[indices] = np.arange(first, first + len(indices))
        is_ok = pc.equal(table.column("status"), "ok").to_numpy(zero_copy_only=False)
        np.frombuffer(self.status, np.uint8)[indices] = np.where(is_ok, OK, ERROR)

    def _make_group(self) -> None:
        """Write the waiting rows as a group, and then delete them from the newest rows."""
        table = pa.Table.from_batches(self._waiting, self.schema.arrow)
        frame = self._groups.append(group_payload(table, self.schema.axes))
        if self._newest.size:
            self._groups.sync()
            self._newest.clear()
        self._frames.append(frame)
        self._starts.append(self._starts[-1] + len(table))
        self._waiting = []
        # The newest rows are no longer where they were.
        self._cached.cache_clear()


def _keys_of(rows: Sequence[ScoredRow]) -> Keys | None:
    """Return the keys of the rows, None if a row has a hash but no key."""
    if isinstance(rows, ScoredRows):
        keys, hashes = list(rows.keys), rows.hashes
    else:
        keys, hashes = [row.key for row in rows], [row.sha256 for row in rows]
    # Failed rows have neither.
    lacking = [hash is None for key, hash in zip(keys, hashes, strict=True) if key is None]
    return keys if all(lacking) else None


def newest_batch(payload: bytes, schema: RowSchema) -> Any:
    """Return the rows in a frame of the newest rows, as an Arrow batch."""
    return pa.ipc.read_record_batch(pa.py_buffer(payload).slice(_NUMBER.size), schema.arrow)
