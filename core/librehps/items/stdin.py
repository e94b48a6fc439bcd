"""Items from standard input: a path per line, paths separated by NUL, or JSON Lines.

A line that is no item is an item with a problem, so that it does not end the run.
"""

import os
import select
from codecs import BOM_UTF8
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from librehps.errors import InvalidItemError, MediaError, UsageError
from librehps.files import BYTE, found_path, path_text, printable
from librehps.items.passed_over import PassedOver
from librehps.items.rows import ColumnOptions, RowReader, find_columns
from librehps.media.archived import Remote
from librehps.media.media import kind_by_name
from librehps.rowfiles import json_row
from librehps.storage.places import is_remote, shown
from librehps.storage.url_path import UrlPath, as_path, origins
from librehps.types import Item

BLOCK_BYTES = 1 << 16
NAME = "standard input"


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
        self.passed_over, self.has_prompts, self.container = PassedOver(), False, None
        self.names: Sequence[str] = ()
        self.place = f"the first row of {NAME}"
        self._waiting = _Pieces(stream, b"\0" if null else b"\n")
        self._is_read, self._is_null = False, null
        numbered = enumerate(self._waiting, 1)
        number, first = next(((n, p) for n, p in numbered if p.strip()), (1, b""))
        first = first.removeprefix(BOM_UTF8)
        self._pieces = chain([(number, first)], numbered)
        self._reader: RowReader | None = None
        if not null and first.lstrip().startswith(b"{"):
            place = f"{NAME}, line {number}"
            row = json_row(first, place)
            columns = find_columns(row, options, place, reserved, is_open=True)
            homes = origins([as_path(self._root)])
            self._reader = RowReader(columns, self._root, allow_remote, homes=homes, is_stream=True)
            self.has_prompts, self.names = columns.has_prompts, list(row)

    def __iter__(self) -> Iterator[Item]:
        self._is_read = True
        try:
            yield from self._items()
        finally:
            self._is_read = False

    def would_wait(self, seconds: float) -> bool:
        """Return whether the next item is not there within `seconds`, while items are read."""
        return self._is_read and self._waiting.would_wait(seconds)

    def _items(self) -> Iterator[Item]:
        for number, piece in self._pieces:
            if self._reader is None:
                name = os.fsdecode(piece if self._is_null else piece.removesuffix(b"\r"))
                if name:
                    yield self._item(name)
            elif piece.strip():
                place = f"{NAME}, line {number}"
                try:
                    row = json_row(piece, place)
                except UsageError as error:
                    problem = InvalidItemError(str(error))
                    yield Item(place, Path(place), None, problem=problem)
                else:
                    yield self._reader.item(row, place)

    def _item(self, name: str) -> Item:
        if is_remote(name):
            url, problem = UrlPath(name), None
            if not self._allow_remote:
                problem = MediaError(f"{shown(name)}: remote media in a list need --allow-remote")
            kind = kind_by_name(url.name)
            return Item(printable(url), Remote(name), None, kind, problem=problem)
        # `find` prints `./a.png` for the item `a.png`.
        short = os.path.normpath(name)
        if is_remote(self._root):
            return Item(printable(short), Remote(UrlPath(self._root).url_of(short)), None)
        place = Path(self._root, name)
        if BYTE.search(name):
            place = Path(found_path(str(place)) or place)
        return Item(path_text(short, place), place, None)


class _Pieces(Iterator[bytes]):
    """The pieces of a stream between separators, each as soon as it arrives.

    A separator at the end of the stream may be missing.
    """

    def __init__(self, stream: BinaryIO, separator: bytes) -> None:
        self._stream, self._separator = stream, separator
        self._whole: deque[bytes] = deque()
        # Blocks of the last piece, whose separator has not arrived.
        self._part: list[bytes] = []
        self._is_over = False

    def __next__(self) -> bytes:
        while not self._whole:
            if self._is_over:
                raise StopIteration
            self._read()
        return self._whole.popleft()

    def would_wait(self, seconds: float) -> bool:
        """Return whether neither a piece nor the end of the stream arrives within `seconds`.

        Blank pieces do not count. False for streams that cannot be watched: pipes on Windows.
        """
        while not (self._is_over or any(piece.strip() for piece in self._whole)):
            try:
                readable, _, _ = select.select([self._stream], [], [], seconds)
            except (OSError, ValueError):
                return False
            if not readable:
                return True
            self._read()
        return False

    def _read(self) -> None:
        """Read one block, without waiting for more than the stream has."""
        read = getattr(self._stream, "read1", self._stream.read)
        block = read(BLOCK_BYTES)
        first, *others = block.split(self._separator)
        self._part.append(first)
        if others or not block:
            self._whole.append(b"".join(self._part))
            self._whole.extend(others[:-1])
            self._part = others[-1:]
        if not block:
            self._is_over = True
            if not self._whole[-1]:
                self._whole.pop()
