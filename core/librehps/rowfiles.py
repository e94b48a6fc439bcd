"""Files of rows, read one row at a time: CSV, TSV, JSON, JSON Lines and Parquet, some also as .gz.

A new format is one reader and one entry of FORMATS; all else asks this file.
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
# (file and line or row, for messages; the row)
Placed = tuple[str, Row]
GZIP = ".gz"
# A field of a CSV file may be long: a prompt, a list of numbers.
MAX_FIELD_CHARS = 1 << 24
BATCH_ROWS = 1024
JSON_BLOCK_CHARS = 1 << 16


@dataclass(frozen=True)
class Schema:
    """Names of the columns, and which of the columns hold bytes (alone or as `{bytes, path}`)."""

    names: list[str]
    binary: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Format:
    """How files of one suffix are read.

    `rows(file, names)` gives placed rows, of the named columns alone where there is a choice.
    `schema` is None where only the first row tells. `is_open`: later rows may have other columns.
    `is_text`: also read as .gz. `begins`: what a file begins with, where the suffix is shared with
    files that hold no rows.
    """

    rows: Callable[[Path, Sequence[str] | None], Iterator[Placed]]
    schema: Callable[[Path], Schema] | None = None
    is_open: bool = False
    is_text: bool = True
    begins: str = ""


class RowFile:
    """Rows of a file; raises `error` (a class) for a file that is missing, unknown or damaged."""

    def __init__(self, file: Path, error: type[LibreHPSError] = UsageError) -> None:
        self.file, self._error = file, error
        suffix = _suffix(file)
        if not file.is_file():
            raise UsageError(f"no such file: {file}")
        if suffix is None:
            raise error(f"{file}: unsupported row file (expected {KNOWN})")
        self._format = FORMATS[suffix]
        if file.suffix.lower() == GZIP and not self._format.is_text:
            raise error(f"{file}: {suffix} is compressed inside, and not read as {GZIP}: unpack it")

    @property
    def is_open(self) -> bool:
        """Whether later rows may have columns that the first row lacks."""
        return self._format.is_open

    def schema(self) -> Schema | None:
        """Columns, known before the first row; None for a file without rows."""
        with self._translated():
            if self._format.schema is not None:
                return self._format.schema(self.file)
            first = next(self._format.rows(self.file, None), None)
        return None if first is None else Schema(list(first[1]))

    def rows(self, names: Sequence[str] | None = None) -> Iterator[Placed]:
        """(place, row) of every row; with `names`, a binary column is read without its bytes."""
        with self._translated():
            yield from self._format.rows(self.file, names)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Turn errors of the parsers into the caller's, which names the file."""
        try:
            yield
        except _RowError as error:
            raise self._error(str(error), error.hint) from error.__cause__
        except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
            raise self._error(f"{self.file} cannot be read: {error}") from error


class _RowError(UsageError):
    """A row that cannot be read; the message names the place."""


def names_rows(path: str | Path) -> bool:
    """Whether the path's suffix is that of a file of rows."""
    return _suffix(Path(path)) is not None


def holds_rows(path: Path) -> bool:
    """Whether the path is a file of rows; of a suffix with other uses, whether it begins like one.

    A missing file is judged by its suffix.
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
    """(place, row) of JSON Lines; raises UsageError for a line that holds no object."""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        where = f"{place}, line {number}"
        try:
            row = json.loads(line)
        except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
            raise _RowError(f"{where} is no JSON: {error}") from error
        if not isinstance(row, dict):
            raise _RowError(f"{where} is not a JSON object")
        yield where, row


def _suffix(path: Path) -> str | None:
    """The key of FORMATS that the path ends in, `.gz` left out; None where there is none."""
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
    """Objects of a JSON array, decoded one by one as the file is read."""
    with _open_text(file) as text:
        scan = _Scanner(text)
        if scan.take() != "[":
            raise _RowError(
                f"{file}: expected a JSON array of objects",
                hint="A file that holds an object on each line is named .jsonl.",
            )
        number, mark = 0, ","
        if scan.peek() == "]":
            mark = scan.take()
        while mark == ",":
            number += 1
            place = f"{file}, entry {number}"
            row = scan.value(place)
            if not isinstance(row, dict):
                raise _RowError(f"{place} is not a JSON object")
            yield place, row
            mark = scan.take()
        if mark != "]" or scan.peek():
            raise _RowError(f"{file}: the JSON array is damaged after entry {number}")


class _Scanner:
    """JSON text read in blocks: single marks and whole values, white space left out."""

    def __init__(self, text: IO[str]) -> None:
        self._text, self._rest = text, ""
        self._decoder = json.JSONDecoder()

    def peek(self) -> str:
        """The next character; empty at the end of the text."""
        self._rest = self._rest.lstrip()
        while not self._rest and (block := self._text.read(JSON_BLOCK_CHARS)):
            self._rest = block.lstrip()
        return self._rest[:1]

    def take(self) -> str:
        """The next character, which is then behind."""
        mark = self.peek()
        self._rest = self._rest[1:]
        return mark

    def value(self, place: str) -> Any:
        """The next value; raises _RowError where there is none, or no end of it."""
        self.peek()
        while True:
            try:
                value, end = self._decoder.raw_decode(self._rest)
            except (json.JSONDecodeError, RecursionError) as error:
                # The value may go on in the next block; ever larger ones keep this linear.
                block = self._text.read(max(JSON_BLOCK_CHARS, len(self._rest)))
                if not block:
                    reason = getattr(error, "msg", error)
                    raise _RowError(f"{place} is no JSON: {reason}") from error
                self._rest += block
            else:
                self._rest = self._rest[end:]
                return value


def _delimited(delimiter: str, file: Path, names: Sequence[str] | None) -> Iterator[Placed]:
    """Rows below a header line; an empty field is None."""
    header: list[str] | None = None
    for place, fields in _fields(delimiter, file):
        if header is None:
            header = fields
        elif len(fields) != len(header):
            raise _RowError(f"{place} has another number of fields than the header")
        else:
            yield place, {n: v or None for n, v in zip(header, fields, strict=True)}


def _fields(delimiter: str, file: Path) -> Iterator[tuple[str, list[str]]]:
    """(place, fields) of each line that is not blank; the place of several lines is the first."""
    csv.field_size_limit(MAX_FIELD_CHARS)
    with _open_text(file) as lines:
        # Without `strict` a stray quote would swallow the rows up to the next quote.
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
        while True:
            place = f"{file}, line {reader.line_num + 1}"
            try:
                fields = next(reader, None)
            except csv.Error as error:
                raise _RowError(f"{place} is damaged: {error}", hint=QUOTES) from error
            if fields is None:
                return
            if delimiter == "\t" and any("\t" in field and "\n" in field for field in fields):
                raise _RowError(f"{place}: a quoted field goes on over several rows", hint=QUOTES)
            if fields:
                yield place, fields


QUOTES = (
    "A field that begins with a quotation mark ends at the next one; inside such a field write "
    'two ("") for one.'
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
    """Arrow's names of the columns; of a struct that holds bytes its path alone."""
    import pyarrow as pa

    kinds = {name: schema.field(name).type for name in names}
    structs = [f"{n}.path" for n, kind in kinds.items() if pa.types.is_struct(kind)
               and _is_binary(kind)]  # fmt: skip
    return [*(name for name, kind in kinds.items() if not _is_binary(kind)), *structs]


def _is_binary(kind: Any) -> bool:
    """Whether an Arrow type holds bytes, alone or as `{bytes, path}`."""
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
# For help texts and messages.
_TEXTS = [suffix for suffix, known in FORMATS.items() if known.is_text]
_OTHERS = [suffix for suffix in FORMATS if suffix not in _TEXTS]
KNOWN = f"{' '.join(_TEXTS)}, each also {GZIP}, and {' '.join(_OTHERS)}"
