"""stdout is data, stderr is talk; what comes from files or users is text, never markup."""

import logging
import sys
import unicodedata
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from io import TextIOWrapper
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from librehps.types import AXES

TEXT_COLUMNS = ("item", "value", "why", "benchmark", "axis", "error", "generator", "category")


class Output:
    """Where a command writes; `json` None means JSON Lines unless stdout is a terminal."""

    def __init__(self, quiet: bool = False, json: bool | None = None) -> None:
        if isinstance(sys.stdout, TextIOWrapper):
            # JSON Lines are UTF-8 whatever the locale says.
            sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape")
        self.quiet = quiet
        self.json = not sys.stdout.isatty() if json is None else json
        self._out = Console(file=sys.stdout, highlight=False, soft_wrap=False)
        self._talk = Console(file=sys.stderr, highlight=False, soft_wrap=True)
        # Pillow warns of oddities in files that it goes on to read well.
        warnings.filterwarnings("ignore", module="PIL")
        logger = logging.getLogger("librehps")
        logger.handlers, logger.propagate = [_Notes(self)], False

    def note(self, message: str) -> None:
        """A line on stderr, unless --quiet."""
        if not self.quiet:
            self._talk.print(Text(safe(message)), style="dim")

    def line(self, text: str) -> None:
        """A line of data on stdout: as it is, but on a terminal."""
        sys.stdout.write((safe(text) if sys.stdout.isatty() else text) + "\n")
        sys.stdout.flush()

    def records(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Records as JSON Lines on stdout."""
        from librehps.sink.jsonl import to_line

        for record in records:
            self.line(to_line(record))

    def error(self, message: str) -> None:
        """An error of one item, on stderr, also under --quiet."""
        self._talk.print(Text(f"error: {safe(message)}", style="red"))

    def text(self, message: str, style: str = "") -> None:
        """A line for a reader on stdout."""
        self._out.print(Text(safe(message), style=style))

    @property
    def width(self) -> int:
        """Columns of the terminal that stdout is, or would be."""
        return self._out.width

    @property
    def is_watched(self) -> bool:
        """Whether a person reads what is said on stderr."""
        return not self.quiet and sys.stderr.isatty()

    @property
    def talk_console(self) -> Console:
        """The console of stderr, for a live display."""
        return self._talk

    def talk_table(self, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """A table for a reader on stderr."""
        self._talk.print(_table(columns, rows))

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """A table for a reader on stdout; figures stand to the right."""
        self._out.print(_table(columns, rows))

    def progress(self, rows: Iterable[Any], total: int) -> Iterator[Any]:
        """The rows, with a bar on stderr where that is a terminal."""
        if not self.is_watched:
            yield from rows
            return
        from rich.progress import track

        yield from track(rows, "scoring", total=total, console=self._talk, transient=True)

    def can_ask(self) -> bool:
        """Whether a person sits at both ends."""
        return sys.stdin.isatty() and sys.stderr.isatty()


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        left = column in TEXT_COLUMNS
        table.add_column(column, justify="left" if left else "right", overflow="fold")
    for row in rows:
        table.add_row(*(Text(safe(cell)) for cell in row))
    return table


class _Notes(logging.Handler):
    """The library's warnings, as notes."""

    def __init__(self, output: Output) -> None:
        super().__init__(logging.WARNING)
        self._output = output

    def emit(self, record: logging.LogRecord) -> None:
        self._output.note(record.getMessage())


def safe(text: str) -> str:
    """Control characters spelled out, so that no name can steer a terminal."""
    return "".join(
        ascii(c)[1:-1] if unicodedata.category(c) in ("Cc", "Cf", "Cs") else c for c in text
    )


def shorten(text: str, width: int) -> str:
    """The text in at most `width` cells of a terminal: both its ends, and … between."""
    text = safe(text)
    if cell_len(text) <= width:
        return text
    head = _fitting(text, width // 2)
    # Backwards, the longest beginning is the longest end.
    tail = _fitting(text[::-1], width - 1 - cell_len(head))[::-1]
    return f"{head}…{tail}"


def _fitting(text: str, width: int) -> str:
    longest = max(0, min(len(text), width))
    return next(text[:n] for n in range(longest, -1, -1) if cell_len(text[:n]) <= width or not n)


def figures(record: Mapping[str, Any]) -> list[str]:
    """The means of the axes, for a table."""
    return ["-" if record[axis] is None else f"{record[axis]:.3f}" for axis in AXES]


def percent(probability: float) -> str:
    """A probability for a reader; never 100 %, which no model can promise."""
    return f"{min(probability, 0.999):.1%}"
