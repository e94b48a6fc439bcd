"""Items as columns, which a source lists without an object for each item."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain, islice
from operator import attrgetter
from typing import Any, TypeVar

from librehps.errors import ItemError, LibreHPSError
from librehps.types import Item

T = TypeVar("T")

# The fields of an item that are columns.
FIELDS = ("id", "media", "prompt", "kind", "group")
# Own columns of the same names by column, else as a mapping for each item.
Extras = Mapping[str, Sequence[Any]] | Sequence[Mapping[str, Any]]

# Items that are made together, a divisor of the chunks of a listing.
BLOCK_ITEMS = 2048


@dataclass(frozen=True, slots=True)
class ItemColumns:
    """Items as columns: the fields `FIELDS` of each item, its own columns, and errors by index."""

    fields: Sequence[Sequence[Any]]
    extras: Extras
    problems: Mapping[int, ItemError]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def ids(self) -> Sequence[str]:
        return self.fields[0]

    @property
    def rows(self) -> Sequence[Mapping[str, Any]]:
        """The own columns of each item."""
        if not isinstance(self.extras, Mapping):
            return self.extras
        names, columns = list(self.extras), list(self.extras.values())
        if not names:
            return [{}] * len(self)
        return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]

    def only(self, is_kept: Sequence[bool]) -> "ItemColumns":
        """Return the items for which `is_kept` is true."""
        if all(is_kept):
            return self
        places = [at for at, kept in enumerate(is_kept) if kept]
        extras: Extras
        if isinstance(self.extras, Mapping):
            extras = {name: [column[at] for at in places] for name, column in self.extras.items()}
        else:
            extras = [self.extras[at] for at in places]
        fields = [[field[at] for at in places] for field in self.fields]
        errors = {i: self.problems[at] for i, at in enumerate(places) if at in self.problems}
        return ItemColumns(fields, extras, errors)

    def part(self, start: int, end: int) -> "ItemColumns":
        """Return the items from `start` to `end` (exclusive)."""
        if start == 0 and end >= len(self):
            return self
        extras: Extras
        if isinstance(self.extras, Mapping):
            extras = {name: column[start:end] for name, column in self.extras.items()}
        else:
            extras = self.extras[start:end]
        problems = {at - start: e for at, e in self.problems.items() if start <= at < end}
        return ItemColumns([field[start:end] for field in self.fields], extras, problems)


def columns_of(items: Sequence[Item]) -> ItemColumns:
    """Return items as columns."""
    extras: Extras = [item.extra for item in items]
    names = list(items[0].extra) if items else []
    if all(list(item.extra) == names for item in items):
        extras = {name: [item.extra[name] for item in items] for name in names}
    fields = [list(map(attrgetter(name), items)) for name in FIELDS]
    problems = {at: one.problem for at, one in enumerate(items) if one.problem is not None}
    return ItemColumns(fields, extras, problems)


def joined(parts: Sequence[ItemColumns]) -> ItemColumns:
    """Return the items of all parts, in order."""
    if len(parts) == 1:
        return parts[0]
    fields = [
        list(chain.from_iterable(field)) for field in zip(*(p.fields for p in parts), strict=True)
    ]
    starts = accumulate(map(len, parts), initial=0)
    problems = {
        start + at: error
        for start, part in zip(starts, parts, strict=False)
        for at, error in part.problems.items()
    }
    return ItemColumns(fields, _joined_extras(parts), problems)


def _joined_extras(parts: Sequence[ItemColumns]) -> Extras:
    columns = [part.extras for part in parts if isinstance(part.extras, Mapping)]
    names = list(columns[0]) if columns else []
    if len(columns) == len(parts) and all(list(one) == names for one in columns):
        return {name: list(chain.from_iterable(one[name] for one in columns)) for name in names}
    return list(chain.from_iterable(part.rows for part in parts))


def chunks(parts: Iterable[ItemColumns], size: int) -> Iterator[ItemColumns]:
    """Yield the items of the parts, `size` at a time."""
    waiting, count = list[ItemColumns](), 0
    for part in parts:
        start = 0
        while count + len(part) - start >= size:
            end = start + size - count
            yield joined([*waiting, part.part(start, end)])
            waiting, count, start = [], 0, end
        if start < len(part):
            waiting.append(part.part(start, len(part)))
            count += len(part) - start
    if waiting:
        yield joined(waiting)


def blocks(values: Iterable[T], size: int = BLOCK_ITEMS) -> Iterator[list[T]]:
    """Yield the values, `size` at a time; those before an error come before it is raised."""
    source = iter(values)
    while True:
        block, error = list[T](), None
        try:
            block.extend(islice(source, size))
        except LibreHPSError as found:
            error = found
        if block:
            yield block
        if error is not None:
            raise error
        if len(block) < size:
            return
