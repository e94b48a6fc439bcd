"""Rows of CSV and TSV files, with quotation marks checked strictly."""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, compress
from typing import IO, Any

from librehps.rowfiles.base import Placed, RowBlock, RowError, check_distinct
from librehps.rowfiles.blocks import Table, row_blocks
from librehps.rowfiles.text import nul_error, open_text
from librehps.storage.url_path import AnyPath

# A CSV field may be long: a prompt, a list of numbers.
MAX_FIELD_CHARS = 1 << 24
QUOTE_HINT = (
    'Close each quoted field with a quotation mark; inside it write "" for a quotation mark.'
)
# Spreadsheets separate the fields of a .csv by another character in some countries.
SEPARATORS = (",", ";", "\t", "|")
# Lines with these are left to the parser.
SPECIAL = ('"', "\0", "\r")
# Characters of a read, and reads of a block: some thousand rows.
READ_CHARS, BLOCK_READS = 1 << 16, 4
FILE_SUFFIX = re.compile(r"\.\w{2,5}$")


def delimited_rows(delimiter: str, file: AnyPath, names: Sequence[str] | None) -> Iterator[Placed]:
    """Yield (position, row) of the lines below the header; an empty field is None."""
    with open_text(file) as text:
        first = next(text, "")
        yield from _rows(_separator(delimiter, first), file, chain([first], text), 0, None)


def delimited_blocks(
    delimiter: str, file: AnyPath, names: Sequence[str] | None
) -> Iterator[RowBlock]:
    """Yield the same rows in blocks: by column, up to the first row of several lines."""
    csv.field_size_limit(MAX_FIELD_CHARS)
    with open_text(file) as text:
        number, block = 0, _block(text)
        first = next(_lines(block), "")
        delimiter = _separator(delimiter, first)
        header = _header(delimiter, first)
        if header is not None:
            check_distinct(header, f"{file}, line 1")
            number, block = 1, block[len(first) :] or _block(text)
            while block:
                count = _line_count(block)
                table = _table(
                    delimiter, file, header, block, range(number + 1, number + 1 + count)
                )
                if table is None:
                    break
                yield table
                number, block = number + count, _block(text)
        yield from row_blocks(_rows(delimiter, file, chain(_lines(block), text), number, header))


def _block(text: IO[str]) -> str:
    """Return the next whole lines of a text."""
    # A long read of a text file copies what it has with each few kilobytes.
    pieces = [text.read(READ_CHARS) for _ in range(BLOCK_READS)]
    return "".join([*pieces, text.readline()])


def _lines(block: str) -> Iterator[str]:
    return io.StringIO(block, newline="")


def _line_count(block: str) -> int:
    if "\r" in block and block.count("\r") != block.count("\r\n"):
        return sum(1 for _ in _lines(block))
    return block.count("\n") + (not block.endswith("\n"))


def _separator(usual: str, line: str) -> str:
    """Return the separator of a header: another than the usual one where only it separates names.

    A line with the usual one has this one, and so has a line that could be read in two ways.
    """
    others = [mark for mark in SEPARATORS if usual not in line and _names(mark, line) > 1]
    return others[0] if len(others) == 1 else usual


def _names(delimiter: str, line: str) -> int:
    return sum(bool(name.strip()) for name in _header(delimiter, line) or ())


def _header(delimiter: str, line: str) -> list[str] | None:
    """Return the fields of the first line; None if it is blank or invalid, or the row goes on."""
    found = _one_a_line(delimiter, [line])
    return found[0] or None if found else None


def _table(
    delimiter: str, file: AnyPath, header: Sequence[str], block: str, numbers: Sequence[int]
) -> Table | None:
    """Return the lines of a block, which have these numbers, as columns.

    None if a row has several lines, is invalid, or has another length than the header.
    """
    columns = _split(delimiter, block, len(header), len(numbers))
    if columns is None:
        rows = _one_a_line(delimiter, list(_lines(block)))
        if rows is None:
            return None
        # A blank line is no row.
        there = list(filter(None, rows))
        if set(map(len, there)) - {len(header)}:
            return None
        numbers = list(compress(numbers, rows)) if len(there) < len(rows) else numbers
        columns = list(zip(*there, strict=True)) or [()] * len(header)
    values = [[value or None for value in column] if "" in column else column for column in columns]
    return Table(dict(zip(header, values, strict=True)), numbers, f"{file}, line ")


def _split(delimiter: str, block: str, width: int, count: int) -> Sequence[Sequence[str]] | None:
    """Return the columns of `count` rows without quotation marks; None for some other rows."""
    if "\r" in block:
        block = block.replace("\r\n", "\n")
    if len(block) > MAX_FIELD_CHARS or any(mark in block for mark in SPECIAL):
        return None
    # Each line break begins the first field of a row, so that fields in other places are noticed.
    fields = block.removesuffix("\n").replace("\n", f"{delimiter}\n").split(delimiter)
    firsts = "".join(fields[::width]).split("\n")
    if len(fields) != width * count or len(firsts) != count or (width == 1 and "" in firsts):
        return None
    return [firsts, *(fields[at::width] for at in range(1, width))]


def _one_a_line(delimiter: str, lines: list[str]) -> list[list[str]] | None:
    """Return the fields of each line; None if a row has several lines, or is invalid."""
    if "\0" in "".join(lines):
        return None
    try:
        rows = list(csv.reader(lines, delimiter=delimiter, strict=True))
    except csv.Error:
        return None
    return rows if len(rows) == len(lines) else None


def _rows(
    delimiter: str, file: AnyPath, text: Iterable[str], number: int, header: list[str] | None
) -> Iterator[Placed]:
    """Yield (position, row) of lines, the first of which is below `number` others of the file."""
    for place, fields in _fields(delimiter, file, text, number):
        if header is None:
            header = fields
            check_distinct(header, place)
        elif len(fields) != len(header):
            raise RowError(
                f"{place}: got {len(fields)} fields, expected {len(header)} as in the header",
                _length_hint(delimiter, len(fields) > len(header)),
            )
        else:
            row: dict[str, Any] = dict(zip(header, fields, strict=True))
            if "" in fields:
                row = {name: value or None for name, value in row.items()}
            yield place, row


def _length_hint(delimiter: str, is_long: bool) -> str:
    mark = "a tab" if delimiter == "\t" else repr(delimiter)
    if is_long:
        return f'Put a field that has {mark} in quotation marks: "a cat, a dog".'
    return f"Separate the fields of each line by {mark}, as the header; empty fields too."


def _fields(
    delimiter: str, file: AnyPath, text: Iterable[str], number: int
) -> Iterator[tuple[str, list[str]]]:
    """Yield (position, fields) of each row that is not blank; the position is its first line."""
    csv.field_size_limit(MAX_FIELD_CHARS)
    start = f"{file}, line "
    lines = _Lines(text, file, number)
    # Without `strict` a stray quote would swallow the rows up to the next quote.
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        lines.taken.clear()
        place = f"{start}{number + reader.line_num + 1}"
        try:
            fields = next(reader, None)
        except csv.Error as error:
            raise RowError(f"{place}: invalid row: {error}", hint=QUOTE_HINT) from error
        if fields is None:
            return
        if len(lines.taken) > 1 and _spans_rows(lines.taken, fields, delimiter):
            hint = f"{QUOTE_HINT} If the line breaks are meant, write the table as .jsonl."
            raise RowError(f"{place}: a quoted field spans several rows", hint=hint)
        if fields:
            yield place, fields


class _Lines:
    """The lines of a text, of which `taken` keeps those of the current row."""

    def __init__(self, text: Iterable[str], file: AnyPath, number: int) -> None:
        self._lines, self._file, self._number = iter(text), file, number
        self.taken: list[str] = []

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        self._number += 1
        if "\0" in line:
            raise nul_error(f"{self._file}, line {self._number}", self._file)
        self.taken.append(line)
        return line


def _spans_rows(lines: Sequence[str], fields: Sequence[str], delimiter: str) -> bool:
    """Return whether two stray quotes made one row of several: `a.png,"x` and `b.png,y"`.

    A prompt may have line breaks and commas, but no tabs, and no lines that have file names where
    the row has its own.
    """
    broken = [at for at, field in enumerate(fields) if "\n" in field or "\r" in field]
    if not broken:
        return False
    if delimiter == "\t" and any("\t" in fields[at] for at in broken):
        return True
    # Fields behind the broken one are counted from the end: it may have delimiters.
    places = [
        at if at < broken[0] else at - len(fields)
        for at, field in enumerate(fields)
        if FILE_SUFFIX.search(field)
    ]
    alike = 0
    for line in lines:
        cells = [cell.strip('"\r\n') for cell in line.split(delimiter)]
        is_long = len(cells) >= len(fields)
        alike += is_long and any(FILE_SUFFIX.search(cells[at]) for at in places)
    return alike > 1
