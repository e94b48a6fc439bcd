"""The score cache: raw scores by media and prompt, so that duplicates are scored once."""

import math
import os
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from librehps.files import writing
from librehps.key_index import KeyIndex
from librehps.models.base import RawScore


class KnownScores(Protocol):
    """Raw scores by key, which the engine asks before it scores, and tells of each new score."""

    def find(self, keys: Sequence[bytes]) -> dict[bytes, RawScore]:
        """Return the known raw scores by key; keys that are not known are left out."""

    def add(self, outputs: Iterable[tuple[bytes, RawScore]]) -> None:
        """Store raw scores by key."""


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

    def add(self, outputs: Iterable[tuple[bytes, RawScore]]) -> None:
        """Store raw scores by key."""
        new = list(outputs)
        if not new:
            return
        with _translated():
            if self._file is None:
                self._axes = len(new[0][1].mu)
                self._file = tempfile.TemporaryFile()  # noqa: SIM115 - deleted with this object
            self._file.seek(0, os.SEEK_END)
            self._file.write(np.array([_values(raw) for _, raw in new]).tobytes())
            self._file.flush()
        self._index.add([key for key, _ in new], self._count + np.arange(len(new)))
        self._count += len(new)

    def _read(self, number: int) -> RawScore:
        size = (2 * self._axes + 1) * np.dtype(float).itemsize
        self._file.seek(number * size)
        *scores, scalar = np.frombuffer(self._file.read(size)).tolist()
        mu, sigma = scores[: self._axes], scores[self._axes :]
        return RawScore(tuple(mu), tuple(sigma), None if math.isnan(scalar) else scalar)


def _values(raw: RawScore) -> tuple[float, ...]:
    return (*raw.mu, *raw.sigma, math.nan if raw.scalar is None else raw.scalar)


def _translated() -> AbstractContextManager[None]:
    hint = f"Free space in {tempfile.gettempdir()}."
    return writing(Path("score cache (a temporary file)"), hint)
