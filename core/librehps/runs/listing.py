"""The listing of a run: the items of the source, frozen in the journal's folder."""

import shutil
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from librehps.files import sync
from librehps.items.item_columns import ItemColumns, chunks
from librehps.storage.outputs import listed, put
from librehps.storage.url_path import AnyPath
from librehps.types import Item

if TYPE_CHECKING:
    from librehps.runs.listing_chunk import Choose

# Every chunk but the last has this number of items; part of the layout of the journal.
CHUNK_ITEMS = 16_384
LISTING = "listing"


class Listing:
    """The items of a source, in order, in the chunk files `listing/NNNNNN.arrow` of a folder.

    The folder is local or at a URL. The methods raise OSError or StorageError; the owner of the
    folder translates these errors. The folder `name` at a URL never gets other items.
    """

    def __init__(self, folder: AnyPath, name: str = LISTING) -> None:
        self.folder = folder / name

    def absolute(self) -> "Listing":
        """Return the same listing for a process in another folder."""
        return Listing(self.folder.parent.absolute(), self.folder.name)

    def write(self, items: Iterable[ItemColumns]) -> int:
        """Write the items, sync the files to disk, and return the number of items.

        When more items are taken, the last whole chunk of those before is on disk.
        """
        # pyarrow is imported when it is used: a row on stdout needs none.
        from librehps.runs.listing_chunk import chunk_content

        self._begin()
        total = 0
        for chunk in chunks(items, CHUNK_ITEMS):
            self._write(self.chunk(total), chunk_content(chunk))
            total += len(chunk)
        if isinstance(self.folder, Path):
            sync(self.folder)
        return total

    def _begin(self) -> None:
        if isinstance(self.folder, Path):
            if self.folder.exists():
                shutil.rmtree(self.folder)
            self.folder.mkdir()

    def _write(self, file: AnyPath, content: bytes) -> None:
        if isinstance(file, Path):
            file.write_bytes(content)
            sync(file)
        else:
            put(file, content)

    def chunk(self, index: int) -> AnyPath:
        """Return the file with the item of this index, which is item `index % CHUNK_ITEMS` in it.

        The file need not exist.
        """
        return self.folder / f"{index // CHUNK_ITEMS:06d}.arrow"

    def items(self) -> Iterator[tuple[int, Item]]:
        """Yield (index, item) for each item."""
        count = sum(1 for file in listed(self.folder) if file.suffix == ".arrow")
        return enumerate(self.range(0, count * CHUNK_ITEMS))

    def chosen(self, total: int, choose: "Choose") -> Iterator[tuple[Sequence[int], list[Item]]]:
        """Yield (indices, items) of chosen items among `total`, many at a time.

        `choose` returns the indices of the items that are wanted between two indices.
        """
        from librehps.runs.listing_chunk import read_chosen

        for start, end in _split(0, total):
            yield from read_chosen(self.chunk(start), start, end, choose)

    def range(self, start: int, end: int) -> Iterator[Item]:
        """Yield the items from index `start` to `end` (exclusive), for a worker of a cluster."""
        from librehps.runs.listing_chunk import read_chunk

        for bounds in _split(start, end):
            yield from chain.from_iterable(read_chunk(self.chunk(bounds[0]), *_within(*bounds)))

    def ids(self, start: int, end: int) -> Any:
        """Return the ids from index `start` to `end` (exclusive) as an Arrow array of chunks."""
        import pyarrow as pa

        from librehps.runs.listing_chunk import read_ids

        found = [read_ids(self.chunk(one), *_within(one, two)) for one, two in _split(start, end)]
        return pa.chunked_array([piece for ids in found for piece in ids.chunks], pa.string())


def _split(start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield the range cut at the ends of chunks."""
    while start < end:
        after = min(end, (start // CHUNK_ITEMS + 1) * CHUNK_ITEMS)
        yield start, after
        start = after


def _within(start: int, end: int) -> tuple[int, int]:
    """Return a range of items of one chunk, counted within this chunk."""
    first = start // CHUNK_ITEMS * CHUNK_ITEMS
    return start - first, end - first
