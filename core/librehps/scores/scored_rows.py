"""Scored rows as columns, which a run writes without an object for each row."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from itertools import chain
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from librehps.errors import ItemError
from librehps.types import AxisColumns, ImageScore, Item, Kind, ScoredRow, VideoScore

MEAN, MU, SIGMA = range(3)


@dataclass(frozen=True, slots=True)
class ScoredRows(Sequence[ScoredRow]):
    """Rows as columns; a `ScoredRow` is made when it is asked for.

    `numbers` holds mean, mu and sigma of each of `axes`, by row: (3, axes, rows). NaN stands for
    null, since no score is NaN. A row with an error has no other values.
    """

    axes: tuple[str, ...]
    items: Sequence[Item]
    kinds: Sequence[Kind | None]
    widths: Sequence[int | None]
    heights: Sequence[int | None]
    frames: Sequence[tuple[int, ...] | None]
    prompt_tokens: Sequence[int | None]
    hashes: Sequence[str | None]
    errors: Sequence[ItemError | None]
    remarks: Sequence[frozenset[str]]
    keys: Sequence[bytes | None]
    scalars: Sequence[float | None]
    numbers: NDArray[np.float64]
    phashes: Sequence[str | None]

    def __len__(self) -> int:
        return len(self.items)

    @overload
    def __getitem__(self, at: int) -> ScoredRow: ...
    @overload
    def __getitem__(self, at: slice) -> list[ScoredRow]: ...
    def __getitem__(self, at: int | slice) -> ScoredRow | list[ScoredRow]:
        found = range(len(self))[at]
        return self._row(found) if isinstance(found, int) else list(map(self._row, found))

    def __iter__(self) -> Iterator[ScoredRow]:
        return map(self._row, range(len(self)))

    def cut(self, start: int, end: int) -> "ScoredRows":
        """Return the rows from `start` to `end` (exclusive) as columns."""
        if start == 0 and end >= len(self):
            return self
        columns: dict[str, Any] = {name: getattr(self, name)[start:end] for name in _BY_ROW}
        return ScoredRows(axes=self.axes, numbers=self.numbers[:, :, start:end], **columns)

    def _row(self, at: int) -> ScoredRow:
        item, kind = self.items[at], self.kinds[at]
        item = item if kind == item.kind else replace(item, kind=kind)
        error, frames = self.errors[at], self.frames[at]
        if error is not None:
            return ScoredRow(item, kind, None, error=error)
        means, mus, sigmas = self.numbers[:, :, at].tolist()
        has = [mean == mean for mean in means]
        names = self.axes
        if not all(has):
            kept = [place for place, there in enumerate(has) if there]
            names = tuple(names[place] for place in kept)
            means, mus, sigmas = ([v[place] for place in kept] for v in (means, mus, sigmas))
        axes, scalar = AxisColumns(names, means, sigmas, mus), self.scalars[at]
        return ScoredRow(
            item,
            kind,
            ImageScore(axes, scalar) if frames is None else VideoScore(axes, scalar, frames),
            self.widths[at],
            self.heights[at],
            self.prompt_tokens[at],
            self.hashes[at],
            None,
            self.remarks[at],
            self.keys[at],
            self.phashes[at],
        )


# The fields of `ScoredRows` with a value for each row.
_BY_ROW = [one.name for one in fields(ScoredRows) if one.name not in ("axes", "numbers")]


def as_columns(rows: Sequence[ScoredRow], axes: Sequence[str]) -> ScoredRows:
    """Return rows as columns on these axes; other axes of a row are left out."""
    if isinstance(rows, ScoredRows) and rows.axes == tuple(axes):
        return rows
    rows = list(rows)
    scores = [row.score for row in rows]
    return ScoredRows(
        tuple(axes),
        [row.item for row in rows],
        [row.kind for row in rows],
        [row.width for row in rows],
        [row.height for row in rows],
        [score.frames if isinstance(score, VideoScore) else None for score in scores],
        [row.prompt_tokens for row in rows],
        [row.sha256 for row in rows],
        [row.error for row in rows],
        [row.remarks for row in rows],
        [row.key for row in rows],
        [None if score is None else score.scalar for score in scores],
        _numbers(rows, axes),
        [row.phash for row in rows],
    )


def joined(parts: Sequence[ScoredRows]) -> ScoredRows:
    """Return the rows of all parts, which have the same axes and are at least one."""
    if len(parts) == 1:
        return parts[0]
    columns: dict[str, Any] = {name: [] for name in _BY_ROW}
    for name, values in columns.items():
        for part in parts:
            values += getattr(part, name)
    numbers = np.concatenate([part.numbers for part in parts], axis=2)
    return ScoredRows(axes=parts[0].axes, numbers=numbers, **columns)


def _numbers(rows: Sequence[ScoredRow], axes: Sequence[str]) -> NDArray[np.float64]:
    numbers = np.full((3, len(axes), len(rows)), np.nan)
    groups: dict[tuple[str, ...], list[int]] = {}
    scored = [AxisColumns.of({} if row.score is None else row.score.axes) for row in rows]
    for at, one in enumerate(scored):
        groups.setdefault(one.names, []).append(at)
    for names, places in groups.items():
        some = [scored[at] for at in places]
        columns = ([s.means for s in some], [s.mus for s in some], [s.sigmas for s in some])
        for part, values in zip(numbers, columns, strict=True):
            flat = np.fromiter(chain.from_iterable(values), float, len(names) * len(some))
            for name, column in zip(names, flat.reshape(len(some), -1).T, strict=True):
                if name in axes:
                    part[axes.index(name), places] = column
    return numbers
