"""Row files, read one row at a time: CSV, TSV, JSON, JSON Lines and Parquet; text also as .gz.

A new format needs one reader function and one entry in FORMATS.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import PurePosixPath

from librehps.errors import LibreHPSError, UsageError
from librehps.rowfiles.base import Format, Placed, Row, RowBlock, RowError, Schema
from librehps.rowfiles.blocks import row_blocks
from librehps.rowfiles.delimited import delimited_blocks, delimited_rows
from librehps.rowfiles.json_text import json_array_rows, json_line_rows, json_row
from librehps.rowfiles.parquet import parquet_blocks, parquet_rows, parquet_schema
from librehps.rowfiles.text import GZIP, is_packed, open_text, reading
from librehps.storage.url_path import AnyPath, as_path

__all__ = ["FORMATS", "GZIP", "KNOWN", "Placed", "Row", "RowError", "RowFile", "Schema",
           "holds_rows", "json_row", "names_rows"]  # fmt: skip

# Of a .json file that is searched for rows; a longer line is cut.
MAX_LINE_CHARS = 1 << 16


class RowFile:
    """A file of rows; raises `error` (a class) for an unsupported or damaged file."""

    def __init__(self, file: AnyPath, error: type[LibreHPSError] = UsageError) -> None:
        self.file, self._error = file, error
        suffix = _suffix(file)
        if not file.is_file():
            raise UsageError(f"no such file: {file}")
        if suffix is None:
            raise error(f"{file}: unsupported row file (expected {KNOWN})")
        self._format = FORMATS[suffix]
        self._schema: list[Schema | None] = []
        if is_packed(file) and not self._format.is_text:
            raise error(f"{file}: {suffix} is not read as {GZIP}", f"Decompress it: gunzip {file}")

    @property
    def is_open(self) -> bool:
        """True if later rows may have columns that the first row lacks."""
        return self._format.is_open

    def schema(self) -> Schema | None:
        """Return the columns before any row is read; None for a file without rows. Read once."""
        if not self._schema:
            self._schema.append(self._read_schema())
        return self._schema[0]

    def _read_schema(self) -> Schema | None:
        with self._translated():
            if self._format.schema is not None:
                return self._format.schema(self.file)
            first = next(self._format.rows(self.file, None), None)
        return None if first is None else Schema(list(first[1]))

    def rows(self, names: Sequence[str] | None = None) -> Iterator[Placed]:
        """Yield (position, row); with `names`, a binary column is read without its bytes."""
        with self._translated():
            yield from self._format.rows(self.file, names)

    def blocks(self, names: Sequence[str] | None = None) -> Iterator[RowBlock]:
        """Yield the rows of `rows`, many at a time."""
        with self._translated():
            if self._format.blocks is None:
                yield from row_blocks(self._format.rows(self.file, names))
            else:
                yield from self._format.blocks(self.file, names)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Raise the caller's error class, with the file's name, for an error of a parser."""
        try:
            with reading(self.file):
                yield
        except RowError as error:
            raise self._error(str(error), error.hint) from error.__cause__


def names_rows(path: str | AnyPath) -> bool:
    """Return whether the path has the suffix of a row file."""
    return _suffix(as_path(path)) is not None


def holds_rows(path: AnyPath) -> bool:
    """Return whether the path is a row file, by its suffix and, for .json, its first characters.

    A .json with an object on each of its first lines is one too: its reader says how to name it.
    For a missing or unreadable file the suffix decides.
    """
    suffix = _suffix(path)
    if suffix is None or path.is_dir():
        return False
    begins = FORMATS[suffix].begins
    if not begins or not path.is_file():
        return True
    try:
        with reading(path), open_text(path) as text:
            lines = (line.strip() for line in iter(partial(text.readline, MAX_LINE_CHARS), ""))
            head, second = [*islice(filter(None, lines), 2), "", ""][:2]
    except RowError:
        # The reader reports the error, with the reason.
        return True
    return head.startswith(begins) or head[:1] + head[-1:] + second[:1] == "{}{"


def _suffix(path: AnyPath) -> str | None:
    """Return the path's key in FORMATS, ignoring a final `.gz`; None for other suffixes."""
    name = path.name.lower().removesuffix(GZIP)
    suffix = PurePosixPath(name).suffix
    return suffix if suffix in FORMATS else None


FORMATS: dict[str, Format] = {
    ".csv": Format(partial(delimited_rows, ","), partial(delimited_blocks, ",")),
    ".tsv": Format(partial(delimited_rows, "\t"), partial(delimited_blocks, "\t")),
    ".jsonl": Format(json_line_rows, is_open=True),
    ".ndjson": Format(json_line_rows, is_open=True),
    ".json": Format(json_array_rows, is_open=True, begins="["),
    ".parquet": Format(parquet_rows, parquet_blocks, schema=parquet_schema, is_text=False),
}
# Text for help and messages: the supported suffixes.
_TEXTS = [suffix for suffix, known in FORMATS.items() if known.is_text]
_OTHERS = [suffix for suffix in FORMATS if suffix not in _TEXTS]
KNOWN = f"{' '.join(_TEXTS)}, each also {GZIP}, and {' '.join(_OTHERS)}"
