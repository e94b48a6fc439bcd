"""Files whose columns are joined to a score table: scored files, and tables of numbers."""

import json
import logging
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from librehps.errors import UsageError
from librehps.media.named import MEDIA_NAMES, PROMPT_NAMES
from librehps.rowfiles import RowFile
from librehps.scores.file_table import FileTable, reading
from librehps.scores.json_table import JsonRows
from librehps.scores.media_folder import MediaFolder, Origin
from librehps.scores.read import are_scored
from librehps.scores.score_table import Scores, ScoreTable, as_score_table
from librehps.scores.select import numeric_columns
from librehps.scores.text_numbers import NUMBER
from librehps.storage.url_path import AnyPath, as_path

log = logging.getLogger("librehps")

KEY_COLUMNS = {"sha256": ("sha256",), "media": MEDIA_NAMES, "id": ("id",), "prompt": PROMPT_NAMES}
# Numbers of a row that say nothing about its quality.
DESCRIPTIVE = ("width", "height", "prompt_tokens")
# Columns of scored files, which a CSV of them has too.
UNJOINED = (*DESCRIPTIVE, "kind", "group", "frames", "status", "error_type", "error", "settings")
IS_NUMBER = re.compile(NUMBER)
MISSING = ("", "-", "na", "n/a", "nan", "none", "null")


def open_source(source: Scores) -> ScoreTable:
    """Return the table to join: of scored files, or of CSV, JSON, JSON Lines or Parquet."""
    if not isinstance(source, str | Path) or Path(source).suffix.lower() == ".parquet":
        return as_score_table(source)
    file = as_path(source)
    if are_scored([str(source)]) or not file.is_file():
        return as_score_table(source)
    with reading(file):
        rows = JsonRows(_JsonStream(_lines(file)), ())
    folder = MediaFolder((Origin.of({}, {}, file),))
    table = FileTable([(str(file), rows)], rows.schema)
    return ScoreTable(table, {}, str(file), folder)


def name_of(source: Scores, table: ScoreTable) -> str:
    """Return the name of a source for its columns: its model, else the name of its file."""
    text = table.settings.get("model")
    if text is None and not isinstance(source, str | Path):
        raise UsageError("a table without a model needs a name", hint='Pass {"NAME": table}.')
    if text is None:
        text = as_path(str(source)).name.partition(".")[0]
    return re.sub(r"[^\w.-]", "_", str(text).rstrip("/").rpartition("/")[2])


def parse_source(text: str) -> tuple[str | None, str]:
    """Return (name, file) for `NAME=FILE` or `FILE`, whose name is None."""
    name, _, file = text.partition("=")
    is_named = bool(file) and re.fullmatch(r"[\w.-]+", name) and not as_path(text).exists()
    return (name, file) if is_named else (None, text)


def key_column(table: Any, key: str) -> str | None:
    """Return the column with the sha256, media, id or prompt of each row; None if not found."""
    return next((name for name in KEY_COLUMNS[key] if name in table.column_names), None)


def joined_columns(table: Any) -> list[str]:
    """Return the names of the columns to join: those of numbers."""
    return [name for name in numeric_columns(table) if name not in DESCRIPTIVE]


def _lines(file: AnyPath) -> Iterator[bytes]:
    """Yield the keys and numbers of each row as a line of JSON."""
    texts, numbers = _kinds(file)
    for _, row in RowFile(file).rows():
        kept: dict[str, Any] = {
            name: None if row.get(name) is None else str(row[name]) for name in texts
        }
        kept |= {name: _number(row.get(name)) for name in numbers}
        yield json.dumps(kept).encode() + b"\n"


def _kinds(file: AnyPath) -> tuple[list[str], list[str]]:
    """Return the names of the columns with keys, and of those with numbers in each row."""
    keys = {name for names in KEY_COLUMNS.values() for name in names}
    names: dict[str, None] = {}
    has_number, others = set[str](), dict[str, Any]()
    for _, row in RowFile(file).rows():
        names |= dict.fromkeys(row)
        for name, value in row.items():
            if name in keys or name in UNJOINED or name in others:
                continue
            number = _number(value)
            if isinstance(number, str):
                others[name] = value
            elif number is not None:
                has_number.add(name)
    for name in sorted(others.keys() & has_number):
        log.warning("%s: the column %s is left out: not a number: %r", file, name, others[name])
    unused = {*keys, *UNJOINED, *others}
    return [name for name in names if name in keys], [n for n in names if n not in unused]


def _number(value: Any) -> float | str | None:
    """Return a number, None for a missing value, and text for anything else."""
    if value is None or (isinstance(value, str) and value.strip().lower() in MISSING):
        return None
    if isinstance(value, bool | list | dict):
        return "other"
    if isinstance(value, str) and not IS_NUMBER.fullmatch(value.strip().removeprefix("+")):
        return "text"
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


class _JsonStream:
    """The bytes of lines, as the `read` of a file returns them."""

    def __init__(self, lines: Iterator[bytes]) -> None:
        self._lines, self._left = lines, b""

    def read(self, size: int) -> bytes:
        """Return the next `size` bytes, fewer at the end."""
        parts, length = [self._left], len(self._left)
        while length < size and (line := next(self._lines, None)) is not None:
            parts.append(line)
            length += len(line)
        whole = b"".join(parts)
        self._left = whole[size:]
        return whole[:size]
