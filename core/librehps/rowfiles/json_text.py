"""Rows of JSON Lines and of JSON arrays, read without holding the whole file."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import IO, Any

from librehps.rowfiles.base import Placed, Row, RowError
from librehps.rowfiles.text import open_text
from librehps.storage.url_path import AnyPath

JSON_BLOCK_CHARS = 1 << 16
JSON_SPACES = " \t\r\n"
ARRAY_HINT = (
    "Write the objects as [{...}, {...}]; a file with one object a line is named .jsonl. "
    'A list inside an object: jq .NAME x.json > rows.json. An object {"a.png": "prompt"}: '
    "jq '[to_entries[] | {media: .key, prompt: .value}]' x.json > rows.json"
)


def json_line_rows(file: AnyPath, names: Sequence[str] | None) -> Iterator[Placed]:
    """Yield (position, row) of a JSON Lines file."""
    with open_text(file) as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                where = f"{file}, line {number}"
                yield where, json_row(line, where)


def json_row(line: str | bytes, where: str) -> Row:
    """Return the row of a line of JSON; raises RowError for a line that is not an object."""
    try:
        text = line if isinstance(line, str) else line.decode(json.detect_encoding(line))
        row = _decoded(text)
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RowError(f"{where}: invalid JSON: {error}") from error
    except RowError as error:
        raise RowError(f"{where}: {error}", error.hint) from error
    return _checked(row, where)


def _decoded(text: str) -> Any:
    """Return the value of a line; `decode` alone takes half as long again."""
    body = text.strip(JSON_SPACES)
    row, end = DECODER.raw_decode(body)
    return row if end == len(body) else DECODER.decode(text)


def json_array_rows(file: AnyPath, names: Sequence[str] | None) -> Iterator[Placed]:
    """Yield (position, row) of a JSON array, decoded one object at a time."""
    with open_text(file) as text:
        scan = _Scanner(text)
        if scan.take() != "[":
            raise RowError(f"{file}: expected a JSON array of objects", ARRAY_HINT)
        number, mark = 0, ","
        if scan.peek() == "]":
            mark = scan.take()
        while mark == ",":
            number += 1
            place = f"{file}, entry {number}"
            yield place, _checked(scan.value(place), place)
            mark = scan.take()
        if mark != "]" or scan.peek():
            raise RowError(f"{file}: the JSON array is damaged after entry {number}")


def _checked(row: Any, place: str) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise RowError(f"{place}: expected a JSON object")
    return row


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the object of the pairs; `json` would keep only the last of equal names."""
    found = dict(pairs)
    if len(found) < len(pairs):
        counts = Counter(name for name, _ in pairs)
        doubled = next(name for name, count in counts.items() if count > 1)
        raise RowError(
            f"duplicate name {doubled!r} in an object", hint="Give each field its own name."
        )
    return found


DECODER = json.JSONDecoder(object_pairs_hook=_distinct)


class _Scanner:
    """A JSON reader that takes characters and whole values from a text stream, block by block.

    White space between tokens is skipped.
    """

    def __init__(self, text: IO[str]) -> None:
        self._text, self._rest = text, ""

    def peek(self) -> str:
        """Return the next character without consuming it; empty at the end of the text."""
        self._rest = self._rest.lstrip()
        while not self._rest and (block := self._text.read(JSON_BLOCK_CHARS)):
            self._rest = block.lstrip()
        return self._rest[:1]

    def take(self) -> str:
        """Return the next character and consume it."""
        mark = self.peek()
        self._rest = self._rest[1:]
        return mark

    def value(self, place: str) -> Any:
        """Return the next value; raises RowError for an invalid or incomplete value."""
        self.peek()
        while True:
            try:
                value, end = DECODER.raw_decode(self._rest)
            except (json.JSONDecodeError, RecursionError) as error:
                # The value may continue in the next block; growing blocks keep this linear.
                block = self._text.read(max(JSON_BLOCK_CHARS, len(self._rest)))
                if not block:
                    reason = getattr(error, "msg", error)
                    raise RowError(f"{place}: invalid JSON: {reason}") from error
                self._rest += block
            except RowError as error:
                raise RowError(f"{place}: {error}", error.hint) from error
            else:
                self._rest = self._rest[end:]
                return value
