"""The raw scores of a run's rows, by media and prompt, so that duplicates are scored once."""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow.compute as pc

from librehps.engine.key_index import KeyIndex, content_key
from librehps.models.base import RawScore
from librehps.runs.row_store import RowStore

MAX_CACHED_GROUPS = 128
_CONTENT = ("kind", "sha256", "prompt", "status")


class RowScores:
    """A score cache over the rows of a store: it remembers keys, the rows have the scores.

    Memory use is about 32 bytes a row. An axis that a row lacks, as `temporal` of an image, is 0 in
    its raw score.
    """

    def __init__(self, store: RowStore) -> None:
        self._store, axes = store, store.schema.axes
        store.keeps_keys = True
        self._names = [f"{a}_mu" for a in axes] + [f"{a}_sigma" for a in axes] + ["scalar"]
        self._index, self._indexed = KeyIndex(), 0
        # Scores whose rows are not in a whole group yet.
        self._newest: dict[bytes, RawScore] = {}
        self._scores_of = lru_cache(MAX_CACHED_GROUPS)(self._scores)
        self._knows_newest = False

    def find(self, keys: Sequence[bytes]) -> dict[bytes, RawScore]:
        """Return the scores of rows with these keys; keys without such a row are left out."""
        self._catch_up()
        found = {key: self._newest[key] for key in self._newest.keys() & keys}
        hits, numbers = self._index.hits(keys)
        if not hits.size:
            return found
        groups, places = self._store.places(numbers)
        for hit, group, place in zip(hits.tolist(), groups.tolist(), places, strict=True):
            found[keys[hit]] = self._raw(self._scores_of(group)[place])
        return found

    def add(self, outputs: Iterable[tuple[bytes, RawScore]]) -> None:
        """Remember scores until their rows are in a group of the store."""
        self._newest.update(outputs)

    def _catch_up(self) -> None:
        """Index the groups that the store has completed since the last call.

        Rows of an earlier call that are in no group are read in the first call.
        """
        if not self._knows_newest:
            keys, _ = self._content(self._store.whole_groups)
            rows = self._scores(self._store.whole_groups)
            self._newest = {k: self._raw(row) for k, row in zip(keys, rows, strict=True) if k}
            self._knows_newest = True
        while self._indexed < self._store.whole_groups:
            keys, start = self._keys(self._indexed)
            numbers = np.arange(len(keys))
            if None in keys:
                numbers = np.flatnonzero([key is not None for key in keys])
            self._index.add([key for key in keys if key is not None], start + numbers)
            left = self._newest.keys() - keys
            self._newest = {key: self._newest[key] for key in left}
            self._indexed += 1

    def _keys(self, group: int) -> tuple[list[bytes | None], int]:
        """Return the same as `_content`, without reading rows that this process has written."""
        keys = self._store.take_keys(group)
        return self._content(group) if keys is None else (keys, self._store.first_row(group))

    def _content(self, group: int) -> tuple[list[Any], int]:
        """Return the key of each row, None for a row without score, and the first row's number."""
        start, table = self._store.group(group, _CONTENT)
        has_score = pc.and_(pc.equal(table["status"], "ok"), pc.is_valid(table["sha256"]))
        columns = [table[name].to_pylist() for name in ("kind", "sha256", "prompt")]
        rows = zip(has_score.to_pylist(), *columns, strict=True)
        return [content_key(*row) if has else None for has, *row in rows], start

    def _scores(self, group: int) -> Any:
        """Return the scores of a group's rows as a matrix, in the order of `_names`."""
        _, table = self._store.group(group, self._names)
        return np.column_stack([column.to_numpy() for column in table.columns])

    def _raw(self, values: Any) -> RawScore:
        axes = len(self._store.schema.axes)
        *scores, scalar = values.tolist()
        scores = [0.0 if value != value else value for value in scores]
        raw = None if scalar != scalar else scalar
        return RawScore(tuple(scores[:axes]), tuple(scores[axes:]), raw)
