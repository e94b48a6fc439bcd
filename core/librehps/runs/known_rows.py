"""The rows of earlier outputs by content, so that an update scores only what is new."""

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from librehps.engine.content_key import content_key, content_keys
from librehps.engine.disk_cache import CachedScore
from librehps.key_index import KeyIndex
from librehps.models.base import RawScore
from librehps.scores.columns import PHASH, axes_among, full_columns
from librehps.scores.file_table import batches_of
from librehps.scores.read import open_table
from librehps.types import Kind

Keys = NDArray[np.void]
# Keys of content are 16 bytes.
KEY = np.dtype("V16")
# The key of a row without a score, or without the hash of its media.
NO_KEY = np.void(bytes(16))
CONTENT = ("kind", "sha256", "prompt", "status")
# Columns that a row takes from its item, not from the score of its content.
OF_ITEM = ("id", "media", "prompt", "group", "status", "error_type", "error", "settings")
# As many as a row group of an output has.
BLOCK_ROWS = 65_536
MAX_CACHED_BLOCKS = 8


class KnownRows:
    """The scored rows of files, numbered through all files, by the key of their content.

    `columns` are the columns of a score that every file with scores has; `keys` holds the key of
    each row, `NO_KEY` for a row that tells no score. Thread-safe once it is made.
    """

    def __init__(self, files: Sequence[Path], axes: Sequence[str]) -> None:
        self._axes, self._tables = tuple(axes), [open_table([file])[0] for file in files]
        self._starts = np.cumsum([0, *map(len, self._tables)])
        found = [keys_of(table) for table in self._tables]
        self.keys: Keys = np.concatenate([np.empty(0, KEY), *found])
        pairs = zip(self._tables, found, strict=True)
        told = [set(t.column_names) for t, keys in pairs if (keys != NO_KEY).any()]
        self.columns = [
            name
            for name in full_columns(axes)
            if name not in OF_ITEM and all(name in there for there in told)
        ]
        self._index = KeyIndex()
        known = np.flatnonzero(self.keys != NO_KEY)
        for at in range(0, len(known), BLOCK_ROWS):
            some = known[at : at + BLOCK_ROWS]
            self._index.add(self.keys[some].tolist(), some)
        self._block = lru_cache(MAX_CACHED_BLOCKS)(self._read_block)

    def __len__(self) -> int:
        """Return the number of rows that tell a score."""
        return len(self._index)

    def numbers(self, keys: Sequence[bytes]) -> Any:
        """Return the number of a row with each key, -1 for a key that no row has."""
        return self._index.find(keys)

    def take(self, numbers: Any) -> Any:
        """Return `columns` of the rows with these numbers, as an Arrow table."""
        tables = np.searchsorted(self._starts, numbers, "right") - 1
        places = numbers - self._starts[tables]
        blocks = tables * (1 << 32) + places // BLOCK_ROWS
        used, which = np.unique(blocks, return_inverse=True)
        found = [self._block(int(block)) for block in used]
        starts = np.cumsum([0, *map(len, found)])
        rows = starts[which.ravel()] + places % BLOCK_ROWS
        if not found:
            return pa.table({})
        table = pa.concat_tables(found, promote_options="permissive")
        return table.combine_chunks().take(pa.array(rows))

    def find(self, kind: Kind, sha256: str, prompt: str | None) -> CachedScore | None:
        """Return the score of this content under the prompt; None if no row tells it."""
        number = self._index.find([content_key(kind, sha256, prompt)])
        return None if number[0] < 0 else self._score(self.take(number).to_pylist()[0])

    def add(self, scores: Iterable[Any]) -> None:
        """Do nothing: the rows of new scores are in the journal."""

    def close(self) -> None:
        """Do nothing: the rows are needed until the output is written."""

    def _score(self, row: dict[str, Any]) -> CachedScore | None:
        if row["kind"] == "video" and row["frames"] is None:
            return None
        # An axis that a row lacks, as `temporal` of an image, is 0 in its raw score. A column that
        # the files lack is in no row that comes of this score.
        mu, sigma = (
            tuple(row.get(f"{axis}_{end}") or 0.0 for axis in self._axes) for end in ("mu", "sigma")
        )
        frames = None if row["frames"] is None else tuple(row["frames"])
        raw = RawScore(mu, sigma, row.get("scalar"))
        return CachedScore(raw, row["width"], row["height"], frames, frozenset(), row.get(PHASH))

    def _read_block(self, block: int) -> Any:
        table, at = self._tables[block >> 32], (block & 0xFFFFFFFF) * BLOCK_ROWS
        found = table.select(self.columns).slice(at, BLOCK_ROWS)
        return found.combine_chunks()


def keys_of(table: Any) -> Keys:
    """Return the key of each row's content; `NO_KEY` for all rows where columns are missing."""
    names = table.column_names
    axes = axes_among(names)
    if not axes or any(name not in names for name in (*CONTENT, "width", "height", "frames")):
        return np.zeros(len(table), KEY)
    found = [np.empty(0, KEY)]
    for batch in batches_of(table, [*CONTENT, f"{axes[0]}_mu"]):
        found.append(row_keys(batch, batch.column(f"{axes[0]}_mu").is_valid()))
    return np.concatenate(found)


def row_keys(table: Any, is_known: Any = True) -> Keys:
    """Return the key of each row; `NO_KEY` for rows with an error, or that are not known."""
    has_score = pc.and_(pc.equal(table["status"], "ok"), table["sha256"].is_valid())
    known = pc.fill_null(pc.and_(has_score, is_known), False)
    columns = [table[name].filter(known).to_pylist() for name in CONTENT[:3]]
    keys = np.zeros(len(table), KEY)
    keys[known.to_numpy(zero_copy_only=False)] = np.frombuffer(
        b"".join(content_keys(*columns)), KEY
    )
    return keys


def known_tables(rows: Any, names: Sequence[str]) -> Iterator[Any]:
    """Yield the named columns of the scored rows of a journal, a group at a time."""
    for at in range(rows.whole_groups + 1):
        _, table = rows.group(at, names)
        yield table.filter(pc.equal(table["status"], "ok"))
