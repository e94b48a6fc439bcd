"""Types shared by the readers of row files, and the error of an invalid row."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, Protocol

from librehps.errors import UsageError
from librehps.storage.url_path import AnyPath

Row = Mapping[str, Any]
# (position for messages, such as "x.csv, line 3"; the row)
Placed = tuple[str, Row]


@dataclass(frozen=True)
class Schema:
    """The names of all columns, of the columns that hold bytes, and of the columns of lists.

    `binary`: bytes, `{bytes, path}` structs, or lists of either.
    """

    names: list[str]
    binary: frozenset[str] = frozenset()
    lists: frozenset[str] = frozenset()


class RowBlock(Protocol):
    """Rows that were read together."""

    def __len__(self) -> int: ...

    def column(self, name: str) -> Sequence[Any]:
        """Return the value of each row, None for a row without it."""

    def has_only(self, names: Set[str]) -> bool:
        """Return whether no row has a column of another name."""

    def placed(self) -> Iterator[Placed]:
        """Yield (position, row)."""


@dataclass(frozen=True)
class Format:
    """A reader of files with one suffix.

    `rows(file, names)` yields (position, row); a columnar format reads only the named columns.
    `blocks` yields them by column (None: a format of single rows). `schema` reads the columns
    without a row, None if only the first row names them. `is_open`: later rows may have other
    columns. `is_text`: the format is also read as .gz. `begins`: first character of a row file, for
    a suffix that other files share.
    """

    rows: Callable[[AnyPath, Sequence[str] | None], Iterator[Placed]]
    blocks: Callable[[AnyPath, Sequence[str] | None], Iterator[RowBlock]] | None = None
    schema: Callable[[AnyPath], Schema] | None = None
    is_open: bool = False
    is_text: bool = True
    begins: str = ""


class RowError(UsageError):
    """Error for an invalid row or file; the message begins with the position or the file."""


def check_distinct(names: Iterable[str], place: str) -> None:
    """Raise RowError for a column name that appears twice, whose values would be lost."""
    doubled = [name for name, count in Counter(names).items() if count > 1]
    if doubled:
        raise RowError(
            f"{place}: duplicate column name {', '.join(map(repr, doubled))}",
            hint="Give each column its own name.",
        )
