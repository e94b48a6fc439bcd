"""Blocks of rows, by column where a format has columns."""

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import islice
from typing import Any

from librehps.errors import LibreHPSError
from librehps.rowfiles.base import Placed

BLOCK_ROWS = 2048


@dataclass(frozen=True)
class Table:
    """Rows of the same columns; `numbers` are their positions, which `place` begins."""

    columns: Mapping[str, Sequence[Any]]
    numbers: Sequence[int]
    place: str

    def __len__(self) -> int:
        return len(self.numbers)

    def column(self, name: str) -> Sequence[Any]:
        """Return the value of each row, None for a row without it."""
        return self.columns.get(name) or [None] * len(self)

    def has_only(self, names: Set[str]) -> bool:
        """Return whether no row has a column of another name."""
        return self.columns.keys() <= names

    def placed(self) -> Iterator[Placed]:
        """Yield (position, row)."""
        names = list(self.columns)
        values = zip(*self.columns.values(), strict=True) if names else [()] * len(self)
        for number, row in zip(self.numbers, values, strict=True):
            yield f"{self.place}{number}", dict(zip(names, row, strict=True))


@dataclass(frozen=True)
class Rows:
    """Rows that may have different columns."""

    rows: Sequence[Placed]

    def __len__(self) -> int:
        return len(self.rows)

    def column(self, name: str) -> Sequence[Any]:
        """Return the value of each row, None for a row without it."""
        return [row.get(name) for _, row in self.rows]

    def has_only(self, names: Set[str]) -> bool:
        """Return whether no row has a column of another name."""
        return all(row.keys() <= names for _, row in self.rows)

    def placed(self) -> Iterator[Placed]:
        """Yield (position, row)."""
        return iter(self.rows)


def row_blocks(rows: Iterable[Placed]) -> Iterator[Rows]:
    """Yield rows, some at a time; those before an error come before it is raised."""
    source = iter(rows)
    while True:
        block, error = list[Placed](), None
        try:
            block.extend(islice(source, BLOCK_ROWS))
        except LibreHPSError as found:
            error = found
        if block:
            yield Rows(block)
        if error is not None:
            raise error
        if len(block) < BLOCK_ROWS:
            return
