"""The user's own columns of one item, whose values become objects when somebody asks for them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from librehps.media.lazy import Lazy
from librehps.types import ScoredRow


class OwnColumns:
    """The own columns of many items, as an Arrow array of structs."""

    def __init__(self, structs: Any) -> None:
        self.names: list[str] = structs.type.names
        self._structs = structs

    @Lazy
    def values(self) -> dict[str, Sequence[Any]]:
        """The values of each column; two threads that ask at once make equal ones."""
        # Column by column, which is much faster than a struct at a time.
        columns = (column.to_pylist() for column in self._structs.flatten())
        return dict(zip(self.names, columns, strict=True))


class OwnValues(Mapping[str, Any]):
    """The own columns of the item at one place; a copy by pickle is a dict."""

    __slots__ = ("_at", "_columns")

    def __init__(self, columns: OwnColumns, at: int) -> None:
        self._columns, self._at = columns, at

    def __getitem__(self, name: str) -> Any:
        return self._columns.values[name][self._at]

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns.names)

    def __len__(self) -> int:
        return len(self._columns.names)

    def __repr__(self) -> str:
        return repr(dict(self))

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (dict(self),)


def with_dict(row: ScoredRow) -> ScoredRow:
    """Return the row with its own columns as a dict, which users may change or write as JSON."""
    extra = row.item.extra
    if not isinstance(extra, OwnValues):
        return row
    return replace(row, item=replace(row.item, extra=dict(extra)))
