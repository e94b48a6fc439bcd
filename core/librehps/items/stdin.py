"""Items from standard input: a path per line, paths separated by NUL, or JSON Lines."""

import os
from codecs import BOM_UTF8
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from librehps.errors import UsageError
from librehps.files import printable
from librehps.items.rows import ColumnOptions, RowReader, find_columns
from librehps.media.archived import Remote, is_remote
from librehps.media.media import kind_by_name
from librehps.rowfiles import json_rows
from librehps.types import Item

BLOCK_BYTES = 1 << 16


class Stdin:
    """The items that standard input lists; a first line that begins with `{` means JSON Lines."""

    def __init__(
        self,
        stream: BinaryIO,
        null: bool,
        options: ColumnOptions,
        root: str | None,
        allow_remote: bool,
        reserved: frozenset[str],
    ) -> None:
        self._root, self._allow_remote = root or ".", allow_remote
        self.skipped, self.has_prompts, self.container = 0, False, None
        pieces = _until_null(stream) if null else iter(stream)
        first = next(pieces, b"").removeprefix(BOM_UTF8)
        self._pieces = chain([first], pieces)
        self._reader: RowReader | None = None
        if not null and first.lstrip().startswith(b"{"):
            _, row = next(json_rows([first], "standard input"))
            columns = find_columns(row, options, "standard input", reserved, is_open=True)
            self._reader = RowReader(columns, self._root, allow_remote)
            self.has_prompts = columns.prompt is not None

    def __iter__(self) -> Iterator[Item]:
        if self._reader is not None:
            for where, row in json_rows(self._pieces, "standard input"):
                yield self._reader.item(row, where)
            return
        for piece in self._pieces:
            name = os.fsdecode(piece.rstrip(b"\r\n") if piece.endswith(b"\n") else piece)
            if name:
                yield self._item(name)

    def _item(self, name: str) -> Item:
        if is_remote(name):
            if not self._allow_remote:
                raise UsageError(f"{name}: remote media in a list need --allow-remote")
            return Item(name, Remote(name), None, kind_by_name(name))
        # `find` prints `./a.png` for the item `a.png`.
        return Item(printable(os.path.normpath(name)), Path(self._root, name), None)


def _until_null(stream: BinaryIO) -> Iterator[bytes]:
    """Yield the pieces between NUL bytes; the last NUL may be missing."""
    rest = b""
    read = stream.read1 if hasattr(stream, "read1") else stream.read
    while block := read(BLOCK_BYTES):
        *whole, rest = (rest + block).split(b"\0")
        yield from whole
    if rest:
        yield rest
