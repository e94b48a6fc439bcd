"""Output of commands: data on stdout, notes and errors on stderr, as text without markup."""

import logging
import math
import os
import re
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

from librehps.scores.columns import axes_among
from librehps_cli.ui.progress_log import logged

TEXT_COLUMNS = (
    "item",
    "setting",
    "stage",
    "group",
    "generator",
    "value",
    "why",
    "benchmark",
    "category",
    "axis",
    "error",
    "best",
    "prompt",
)
# Columns of names, which are shortened in the middle if a table would not fit.
NAMES, MIN_NAME_CELLS = ("item", "group", "generator", "category", "best", "prompt"), 8
# Headings of figures are cut to this width where a table would not fit.
MIN_HEADING_CELLS = 6
# Space between two columns: Rich pads each by one cell on both sides.
GAP_CELLS = 2
ELLIPSIS = "…"
NO_VALUE, BAR_CELLS = "-", 3
# Variables that Jupyter sets for its kernels.
NOTEBOOKS = ("JPY_PARENT_PID", "JPY_INTERRUPT_EVENT")
EIGHTHS = " ▏▎▍▌▋▊▉█"
# The bar before a figure: BAR_CELLS cells and a space.
BAR = re.compile(rf"^[{EIGHTHS}]{{{BAR_CELLS}}} (?=\d)")


class Output:
    """The output of a command; `json` None means JSON Lines unless stdout is a terminal."""

    def __init__(self, quiet: bool = False, json: bool | None = None) -> None:
        if isinstance(sys.stdout, TextIOWrapper):
            # JSON Lines are UTF-8 in any locale.
            sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape")
        self.quiet = quiet
        self.json = not sys.stdout.isatty() if json is None else json
        self._out = Console(file=sys.stdout, highlight=False, soft_wrap=False)
        self._talk = Console(file=sys.stderr, highlight=False, soft_wrap=True)
        # Pillow warns about files that it then reads correctly.
        warnings.filterwarnings("ignore", module="PIL")
        logger = logging.getLogger("librehps")
        logger.handlers, logger.propagate = [_Notes(self)], False

    def note(self, message: str) -> None:
        """Print a line on stderr, unless --quiet."""
        if not self.quiet:
            self._talk.print(Text(safe(message)), style="dim")

    def line(self, text: str) -> None:
        """Print a line of data on stdout, on a terminal with control characters escaped."""
        sys.stdout.write((safe(text) if sys.stdout.isatty() else text) + "\n")
        sys.stdout.flush()

    def records(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Print the records as JSON Lines on stdout."""
        from librehps.scores.jsonl import to_line

        for record in records:
            self.line(to_line(record))

    def error(self, message: str) -> None:
        """Print the error of one item on stderr, also with --quiet."""
        self._talk.print(Text(f"error: {safe(message)}", style="red"))

    def text(self, message: str, style: str = "") -> None:
        """Print a line of text on stdout."""
        self._out.print(Text(safe(message), style=style))

    def styled(self, line: Text) -> None:
        """Print a line of text with its styles on stdout."""
        self._out.print(line)

    @property
    def width(self) -> int:
        """Width of the terminal in cells."""
        return self._out.width

    @property
    def stdout_is_terminal(self) -> bool:
        """True if stdout is a terminal."""
        return sys.stdout.isatty()

    @property
    def stderr_is_terminal(self) -> bool:
        """True if stderr is a terminal."""
        return sys.stderr.isatty()

    @property
    def is_watched(self) -> bool:
        """True if stderr is a terminal and --quiet is not set."""
        return not self.quiet and sys.stderr.isatty()

    @property
    def talk_console(self) -> Console:
        """Console of stderr, for a live display."""
        return self._talk

    def talk_table(self, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Print a table on stderr."""
        self._talk.print(_table(columns, rows, self._talk.width))

    def table(
        self,
        columns: Sequence[str],
        rows: Iterable[Sequence[str]],
        names: Sequence[str] = (),
    ) -> None:
        """Print a table on stdout; numbers are aligned right, NAMES and `names` left."""
        self._out.print(_table(columns, rows, self._out.width, names))

    def progress(self, rows: Iterable[Any], total: int, what: str = "scoring") -> Iterator[Any]:
        """Yield the rows, with a bar on a terminal, plain lines in a log, nothing if quiet."""
        if self.quiet:
            yield from rows
            return
        if not self.is_watched:
            yield from logged(rows, total, what, self.note)
            return
        from rich.progress import track

        yield from track(rows, what, total=total, console=self._talk, transient=True)

    def can_ask(self) -> bool:
        """Return whether a person at a terminal can answer a question.

        In a notebook `!command` has a terminal too, but nobody can type into it.
        """
        in_notebook = any(name in os.environ for name in NOTEBOOKS)
        streams = (sys.stdin, sys.stdout, sys.stderr)
        return not in_notebook and all(stream.isatty() for stream in streams)


def _table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], width: int, names: Sequence[str] = ()
) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    headings, cells, gap = _fitted(columns, [[safe(c) for c in row] for row in rows], width, names)
    table.collapse_padding = gap < GAP_CELLS
    for column, heading in zip(columns, headings, strict=True):
        left = column in TEXT_COLUMNS or column in names
        table.add_column(heading, justify="left" if left else "right", overflow="fold")
    for row in cells:
        table.add_row(*map(Text, row))
    return table


def _fitted(
    columns: Sequence[str], rows: list[list[str]], width: int, more: Sequence[str]
) -> tuple[list[str], list[list[str]], int]:
    """Return headings, rows and gap, made narrower until the table is `width` cells wide.

    Names are shortened; where that is not enough, figures lose their bars first, then the
    headings of figures their ends, then the gaps a cell. A table may still be too wide.
    """
    headings, gap = list(columns), GAP_CELLS
    names = [i for i, name in enumerate(columns) if name in NAMES or name in more]
    if _excess(headings, rows, width, names) > 0:
        rows = [[BAR.sub("", cell) for cell in row] for row in rows]
    if _excess(headings, rows, width, names) > 0:
        values = _widths([""] * len(columns), rows)
        headings = [
            name if name in TEXT_COLUMNS else _abbreviated(name, values[i])
            for i, name in enumerate(columns)
        ]
        gap -= _excess(headings, rows, width, names) > 0
    widths = _widths(headings, rows)
    for _ in range(sum(widths) + gap * (len(columns) - 1) - width if names else 0):
        longest = max(names, key=lambda i: widths[i])
        widths[longest] = max(widths[longest] - 1, MIN_NAME_CELLS)
    return (
        headings,
        [
            [shorten(cell, widths[i]) if i in names else cell for i, cell in enumerate(row)]
            for row in rows
        ],
        gap,
    )


def _excess(
    headings: Sequence[str], rows: list[list[str]], width: int, names: Sequence[int]
) -> int:
    """Return by how many cells the table is too wide with its names as short as allowed."""
    widths = enumerate(_widths(headings, rows))
    least = [min(w, MIN_NAME_CELLS) if i in names else w for i, w in widths]
    return sum(least) + GAP_CELLS * (len(headings) - 1) - width


def _abbreviated(heading: str, width: int) -> str:
    """Return a heading with a word a line, each cut to `width` cells or MIN_HEADING_CELLS."""
    most = max(width, MIN_HEADING_CELLS)
    return "\n".join(w if len(w) <= most else f"{w[: most - 1]}." for w in heading.split())


def _widths(columns: Sequence[str], rows: list[list[str]]) -> list[int]:
    return [
        max([*map(cell_len, name.split("\n")), *(cell_len(row[i]) for row in rows if i < len(row))])
        for i, name in enumerate(columns)
    ]


def shorten(text: str, width: int) -> str:
    """Return the text in at most `width` cells; a longer text is cut in the middle."""
    text = safe(text)
    if cell_len(text) <= width:
        return text
    kept = max(width - 1, 0)
    # The end is longer: it holds the file name.
    head, tail = "", ""
    for character in text:
        if cell_len(head + character) > kept // 3:
            break
        head += character
    for character in reversed(text[len(head) :]):
        if cell_len(head + character + tail) > kept:
            break
        tail = character + tail
    return head + ELLIPSIS + tail


def bar(share: float, width: int) -> str:
    """Return a share in [0, 1] as a bar of `width` cells, to an eighth of a cell."""
    eighths = round(min(max(share, 0.0), 1.0) * width * 8)
    whole, part = divmod(eighths, 8)
    return ("█" * whole + EIGHTHS[part] * (part > 0)).ljust(width)


class _Notes(logging.Handler):
    """A log handler that prints the library's warnings as notes."""

    def __init__(self, output: Output) -> None:
        super().__init__(logging.WARNING)
        self._output = output

    def emit(self, record: logging.LogRecord) -> None:
        self._output.note(record.getMessage())


def safe(text: str) -> str:
    """Return the text with control characters escaped, so that no name can control a terminal."""
    return "".join(
        ascii(c)[1:-1] if unicodedata.category(c) in ("Cc", "Cf", "Cs") else c for c in text
    )


def axes_in(records: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the axes that any of the records has a value on, in their order."""
    known = [(record, axes_among(record)) for record in records]
    valued = (axis for record, axes in known for axis in axes if record[axis] is not None)
    found = {*valued}
    return [a for a in dict.fromkeys(a for _, axes in known for a in axes) if a in found]


def figures(record: Mapping[str, Any], axes: Sequence[str]) -> list[str]:
    """Return the means of the axes, each with a bar, for a table."""
    return [figure(record[axis]) for axis in axes]


def figure(mean: float | None) -> str:
    """Return a mean in [0, 1] with its bar."""
    if mean is None or not math.isfinite(mean):
        return NO_VALUE
    return f"{bar(mean, BAR_CELLS)} {mean:.3f}"


def signed(mu: float) -> str:
    """Return a mu, or a difference of two, with its sign."""
    return f"{mu:+.2f}"


def percent(probability: float) -> str:
    """Return a probability in percent, at most 99.9 %: no model is certain."""
    return f"{min(probability, 0.999):.1%}"
