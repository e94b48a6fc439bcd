"""The score cache: raw scores by media and prompt, so that duplicates are scored once."""

import os
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from librehps.files import writing
from librehps.key_index import KeyIndex
from librehps.models.base import RawScore
from librehps.scores.scored_rows import MU, SIGMA, ScoredRows


class KnownScores(Protocol):
    """Raw scores by key, which the engine asks before it scores, and tells of each new score."""

    def find(self, keys: Sequence[bytes]) -> dict[bytes, RawScore]:
        """Return the known raw scores by key; keys that are not known are left out."""

    def add(self, rows: ScoredRows, places: Mapping[bytes, int]) -> None:
        """Store the raw score of each key: that of the row at its place, which has no error."""


def raw_score(values: Sequence[float], axes: int) -> RawScore:
    """Return the raw score of mu and sigma of the axes, and the scalar; NaN stands for null.

    An axis that a row lacks, as `temporal` of an image, is 0 in its raw score.
    """
    *scores, scalar = values
    scores = [0.0 if value != value else value for value in scores]
    return RawScore(
        tuple(scores[:axes]), tuple(scores[axes:]), None if scalar != scalar else scalar
    )


class ScoreCache:
    """Raw scores by key in a temporary file, for callers that keep no rows.

    Raises OutputError if the file cannot be written, as on a full disk.
    """

    def __init__(self) -> None:
        self._index, self._count = KeyIndex(), 0
        self._file: Any = None

    def find(self, keys: Sequence[bytes]) -> dict[bytes, RawScore]:
        """Return the cached raw scores by key; keys that are not cached are left out."""
        if not keys or not self._count:
            return {}
        numbers = self._index.find(keys)
        with _translated():
            return {keys[at]: self._read(n) for at, n in enumerate(numbers.tolist()) if n >= 0}

    def add(self, rows: ScoredRows, places: Mapping[bytes, int]) -> None:
        """Store the raw score of each key: that of the row at its place, which has no error."""
        at = list(places.values())
        if not at:
            return
        scores = [*rows.numbers[MU], *rows.numbers[SIGMA], np.array(rows.scalars, float)]
        with _translated():
            if self._file is None:
                self._axes = len(rows.axes)
                self._file = tempfile.TemporaryFile()  # noqa: SIM115 - deleted with this object
            self._file.seek(0, os.SEEK_END)
            self._file.write(np.stack(scores, axis=1)[at].tobytes())
            self._file.flush()
        self._index.add(places, self._count + np.arange(len(at)))
        self._count += len(at)

    def _read(self, number: int) -> RawScore:
        size = (2 * self._axes + 1) * np.dtype(float).itemsize
        self._file.seek(number * size)
        return raw_score(np.frombuffer(self._file.read(size)).tolist(), self._axes)


def _translated() -> AbstractContextManager[None]:
    hint = f"Free space in {tempfile.gettempdir()}."
    return writing(Path("score cache (a temporary file)"), hint)
