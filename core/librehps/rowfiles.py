"""Row files, read one row at a time: CSV, TSV, JSON, JSON Lines and Parquet; text also as .gz.

A new format needs one reader function and one entry in FORMATS.
"""

import csv
import gzip
import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

from librehps.errors import LibreHPSError, UsageError

Row = Mapping[str, Any]
# (position for messages, such as "x.csv, line 3"; the row)
Placed = tuple[str, Row]
GZIP = ".gz"
# A CSV field may be long: a prompt, a list of numbers.
MAX_FIELD_CHARS = 1 << 24
BATCH_ROWS = 1024
JSON_BLOCK_CHARS = 1 << 16


@dataclass(frozen=True)
class Schema:
    """The names of all columns, and of the binary columns (bytes, or a `{bytes, path}` struct)."""

    names: list[str]
    binary: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Format:
    """A reader of files with one suffix.

    `rows(file, names)` yields (position, row); a columnar format reads only the named columns.
    `schema` reads the columns without a row, None if only the first row names them. `is_open`:
    later rows may have other columns. `is_text`: the format is also read as .gz. `begins`: first
    character of a row file, for a suffix that other files share.
    """

    rows: Callable[[Path, Sequence[str] | None], Iterator[Placed]]
    schema: Callable[[Path], Schema] | None = None
    is_open: bool = False
    is_text: bool = True
    begins: str = ""


class RowFile:
    """A file of rows; raises `error` (a class) for an unsupported or damaged file."""

    def __init__(self, file: Path, error: type[LibreHPSError] = UsageError) -> None:
        self.file, self._error = file, error
        suffix = _suffix(file)
        if not file.is_file():
            raise UsageError(f"no such file: {file}")
        if suffix is None:
            raise error(f"{file}: unsupported row file (expected {KNOWN})")
        self._format = FORMATS[suffix]
        if file.suffix.lower() == GZIP and not self._format.is_text:
            raise error(f"{file}: {suffix} is not read as {GZIP}", f"Decompress it: gunzip {file}")

    @property
    def is_open(self) -> bool:
        """True if later rows may have columns that the first row lacks."""
        return self._format.is_open

    def schema(self) -> Schema | None:
        """Return the columns before any row is read; None for a file without rows."""
        with self._translated():
            if self._format.schema is not None:
                return self._format.schema(self.file)
            first = next(self._format.rows(self.file, None), None)
        return None if first is None else Schema(list(first[1]))

    def rows(self, names: Sequence[str] | None = None) -> Iterator[Placed]:
        """Yield (position, row); with `names`, a binary column is read without its bytes."""
        with self._translated():
            yield from self._format.rows(self.file, names)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Raise the caller's error class, with the file's name, for an error of a parser."""
        try:
            yield
        except _RowError as error:
            raise self._error(str(error), error.hint) from error.__cause__
        except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
            raise self._error(f"{self.file} cannot be read: {error}") from error


class _RowError(UsageError):
    """Error for an invalid row; the message begins with the row's position."""


def names_rows(path: str | Path) -> bool:
    """Return whether the path has the suffix of a row file."""
    return _suffix(Path(path)) is not None


def holds_rows(path: Path) -> bool:
    """Return whether the path is a row file, by its suffix and, for .json, its first character.

    For a missing file the suffix decides.
    """
    suffix = _suffix(path)
    if suffix is None or path.is_dir():
        return False
    begins = FORMATS[suffix].begins
    if not begins or not path.is_file():
        return True
    try:
        with _open_text(path) as text:
            head = next(
                (line for line in iter(partial(text.readline, 256), "") if line.strip()), ""
            )
    except (OSError, EOFError, zlib.error, UnicodeDecodeError):
        return False
    return head.lstrip().startswith(begins)


def json_rows(lines: Iterable[str | bytes], place: str) -> Iterator[Placed]:
    """Yield (position, row) of JSON Lines; raises UsageError for a line that is not an object."""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        where = f"{place}, line {number}"
        try:
            row = json.loads(line)
        except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
            raise _RowError(f"{where}: invalid JSON: {error}") from error
        if not isinstance(row, dict):
            raise _RowError(f"{where}: expected a JSON object")
        yield where, row


def _suffix(path: Path) -> str | None:
    """Return the path's key in FORMATS, ignoring a final `.gz`; None for other suffixes."""
    name = path.name.lower().removesuffix(GZIP)
    suffix = Path(name).suffix
    return suffix if suffix in FORMATS else None


def _open_text(file: Path) -> IO[str]:
    if file.suffix.lower() == GZIP:
        return gzip.open(file, "rt", encoding="utf-8-sig", newline="")
    return file.open(encoding="utf-8-sig", newline="")


def _json_lines(file: Path, names: Sequence[str] | None) -> Iterator[Placed]:
    with _open_text(file) as lines:
        yield from json_rows(lines, str(file))


def _json_array(file: Path, names: Sequence[str] | None) -> Iterator[Placed]:
    """Yield (position, row) of a JSON array, decoded one object at a time."""
    with _open_text(file) as text:
        scan = _Scanner(text)
        if scan.take() != "[":
            raise _RowError(
                f"{file}: expected a JSON array of objects",
                hint="If each line is an object, name the file .jsonl.",
            )
        number, mark = 0, ","
        if scan.peek() == "]":
            mark = scan.take()
        while mark == ",":
            number += 1
            place = f"{file}, entry {number}"
            row = scan.value(place)
            if not isinstance(row, dict):
                raise _RowError(f"{place}: expected a JSON object")
            yield place, row
            mark = scan.take()
        if mark != "]" or scan.peek():
            raise _RowError(f"{file}: the JSON array is damaged after entry {number}")


class _Scanner:
    """A JSON reader that takes characters and whole values from a text stream, block by block.

    White space between tokens is skipped.
    """

    def __init__(self, text: IO[str]) -> None:
        self._text, self._rest = text, ""
        self._decoder = json.JSONDecoder()

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
        """Return the next value; raises _RowError for an invalid or incomplete value."""
        self.peek()
        while True:
            try:
                value, end = self._decoder.raw_decode(self._rest)
            except (json.JSONDecodeError, RecursionError) as error:
                # The value may continue in the next block; growing blocks keep this linear.
                block = self._text.read(max(JSON_BLOCK_CHARS, len(self._rest)))
                if not block:
                    reason = getattr(error, "msg", error)
                    raise _RowError(f"{place}: invalid JSON: {reason}") from error
                self._rest += block
            else:
                self._rest = self._rest[end:]
                return value


def _delimited(delimiter: str, file: Path, names: Sequence[str] | None) -> Iterator[Placed]:
    """Yield (position, row) of the lines below the header; an empty field is None."""
    header: list[str] | None = None
    for place, fields in _fields(delimiter, file):
        if header is None:
            header = fields
        elif len(fields) != len(header):
            raise _RowError(
                f"{place}: got {len(fields)} fields, expected {len(header)} as in the header"
            )
        else:
            yield place, {n: v or None for n, v in zip(header, fields, strict=True)}


def _fields(delimiter: str, file: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield (position, fields) of each row that is not blank; the position is its first line."""
    csv.field_size_limit(MAX_FIELD_CHARS)
    with _open_text(file) as lines:
        # Without `strict` a stray quote would swallow the rows up to the next quote.
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
        while True:
            place = f"{file}, line {reader.line_num + 1}"
            try:
                fields = next(reader, None)
            except csv.Error as error:
                raise _RowError(f"{place}: invalid row: {error}", hint=QUOTE_HINT) from error
            if fields is None:
                return
            if delimiter == "\t" and any("\t" in field and "\n" in field for field in fields):
                raise _RowError(f"{place}: a quoted field spans several rows", hint=QUOTE_HINT)
            if fields:
                yield place, fields


QUOTE_HINT = (
    'Close each quoted field with a quotation mark; inside it write "" for a quotation mark.'
)


def _parquet_schema(file: Path) -> Schema:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        schema = pq.read_schema(file)
    except pa.ArrowException as error:
        raise OSError(error) from error
    return Schema(list(schema.names), frozenset(f.name for f in schema if _is_binary(f.type)))


def _parquet(file: Path, names: Sequence[str] | None) -> Iterator[Placed]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        source = pq.ParquetFile(file)
        wanted = None if names is None else _without_bytes(source.schema_arrow, names)
        number = 0
        for batch in source.iter_batches(BATCH_ROWS, columns=wanted):
            for row in batch.to_pylist():
                yield f"{file}, row {number}", row
                number += 1
    except pa.ArrowException as error:
        raise OSError(error) from error


def _without_bytes(schema: Any, names: Sequence[str]) -> list[str]:
    """Return the Arrow names of the columns without bytes; of a binary struct only its path."""
    import pyarrow as pa

    kinds = {name: schema.field(name).type for name in names}
    structs = [f"{n}.path" for n, kind in kinds.items() if pa.types.is_struct(kind)
               and _is_binary(kind)]  # fmt: skip
    return [*(name for name, kind in kinds.items() if not _is_binary(kind)), *structs]


def _is_binary(kind: Any) -> bool:
    """Return whether an Arrow type holds bytes, alone or in a `{bytes, path}` struct."""
    import pyarrow as pa

    if pa.types.is_struct(kind):
        return any(kind.field(i).name == "bytes" for i in range(kind.num_fields))
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


FORMATS: dict[str, Format] = {
    ".csv": Format(partial(_delimited, ",")),
    ".tsv": Format(partial(_delimited, "\t")),
    ".jsonl": Format(_json_lines, is_open=True),
    ".ndjson": Format(_json_lines, is_open=True),
    ".json": Format(_json_array, is_open=True, begins="["),
    ".parquet": Format(_parquet, schema=_parquet_schema, is_text=False),
}
# Text for help and messages: the supported suffixes.
_TEXTS = [suffix for suffix, known in FORMATS.items() if known.is_text]
_OTHERS = [suffix for suffix in FORMATS if suffix not in _TEXTS]
KNOWN = f"{' '.join(_TEXTS)}, each also {GZIP}, and {' '.join(_OTHERS)}"
