"""The raw scores of a run's rows, by media and prompt, so that duplicates are scored once."""

import math
from collections import deque
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow.compute as pc

from librehps.engine.content_key import content_keys
from librehps.engine.score_cache import raw_score
from librehps.key_index import KeyIndex
from librehps.models.base import RawScore
from librehps.runs.row_store import RowStore
from librehps.scores.scored_rows import MU, ScoredRows

MAX_CACHED_GROUPS = 128
_CONTENT = ("kind", "sha256", "prompt", "status")


class RowScores:
    """A score cache over the rows of a store: it remembers keys, the rows have the scores.

    Memory use is about 24 bytes a row.
    """

    def __init__(self, store: RowStore) -> None:
        self._store, axes = store, store.schema.axes
        store.keeps_keys = True
        self._names = [f"{a}_mu" for a in axes] + [f"{a}_sigma" for a in axes] + ["scalar"]
        # The index has the keys of this many rows.
        self._index, self._indexed = KeyIndex(), 0
        # Rows that the store may not have yet: with the place of each key.
        self._newest: deque[tuple[ScoredRows, Mapping[bytes, int]]] = deque()
        # The number of rows that the store got with keys, without those of `_newest`.
        self._taken = 0
        self._scores_of = lru_cache(MAX_CACHED_GROUPS)(self._scores)

    def find(self, keys: Sequence[bytes]) -> dict[bytes, RawScore]:
        """Return the scores of rows with these keys; keys without such a row are left out."""
        self._catch_up()
        found = dict[bytes, RawScore]()
        for rows, held in self._newest:
            if not held.keys().isdisjoint(keys):
                found |= {key: _score(rows, held[key]) for key in held.keys() & keys}
        hits, numbers = self._index.hits(keys)
        if not hits.size:
            return found
        groups, places = self._store.places(numbers)
        axes = len(self._store.schema.axes)
        newest = self._store.whole_groups
        scores = {at: self._scores_of(at) for at in set(groups.tolist()) if at < newest}
        if (groups == newest).any():
            # This group still grows.
            scores[newest] = self._scores(newest)
        for hit, group, place in zip(hits.tolist(), groups.tolist(), places, strict=True):
            found[keys[hit]] = raw_score(scores[group][place].tolist(), axes)
        return found

    def add(self, rows: ScoredRows, places: Mapping[bytes, int]) -> None:
        """Remember the rows, and the place of each key, until they are in the store."""
        self._newest.append((rows, places))

    def _catch_up(self) -> None:
        """Index the rows that were appended to the store since the last call."""
        for first, keys in self._store.take_keys():
            self._read_keys(first)
            self._note(keys)
            self._taken += len(keys)
        # The store gets the rows in the order in which they came here.
        while self._newest and len(self._newest[0][0]) <= self._taken:
            self._taken -= len(self._newest.popleft()[0])
        self._read_keys(len(self._store))

    def _read_keys(self, end: int) -> None:
        """Index the rows up to this number, whose keys are made from their content."""
        while self._indexed < end:
            [group], [place] = self._store.places([self._indexed])
            keys, start = self._content(group)
            self._note(keys[place : end - start])

    def _note(self, keys: Sequence[Any]) -> None:
        """Index the next rows by their keys, which are None for rows without score."""
        numbers = np.arange(self._indexed, self._indexed + len(keys))
        self._indexed += len(keys)
        if not all(keys):
            numbers = numbers[[key is not None for key in keys]]
            keys = [key for key in keys if key is not None]
        self._index.add(keys, numbers)

    def _content(self, group: int) -> tuple[list[Any], int]:
        """Return the key of each row, None for a row without score, and the first row's number."""
        start, table = self._store.group(group, _CONTENT)
        has_score = pc.and_(pc.equal(table["status"], "ok"), pc.is_valid(table["sha256"]))
        columns = [table[name].filter(has_score).to_pylist() for name in _CONTENT[:3]]
        keys: list[Any] = [None] * len(table)
        known = content_keys(*columns)
        for at, key in zip(np.flatnonzero(has_score.to_numpy()).tolist(), known, strict=True):
            keys[at] = key
        return keys, start

    def _scores(self, group: int) -> Any:
        """Return the scores of a group's rows as a matrix, in the order of `_names`."""
        _, table = self._store.group(group, self._names)
        return np.column_stack([column.to_numpy() for column in table.columns])


def _score(rows: ScoredRows, place: int) -> RawScore:
    """Return the raw score of a row without error."""
    scalar = rows.scalars[place]
    values: list[float] = rows.numbers[MU:, :, place].ravel().tolist()
    return raw_score([*values, math.nan if scalar is None else scalar], len(rows.axes))
