"""The listing of a run: the items of the source, frozen in the journal's folder."""

import shutil
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from librehps.files import sync
from librehps.types import Item

# Every chunk but the last has this number of items; part of the layout of the journal.
CHUNK_ITEMS = 16_384


class Listing:
    """The items of a source, in order, in the chunk files `listing/NNNNNN.arrow` of a folder.

    The methods raise OSError; the owner of the folder translates this error.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "listing"

    def write(self, items: Iterable[Item]) -> int:
        """Write the items, sync the files to disk, and return the number of items."""
        # pyarrow is imported when it is used: a row on stdout needs none.
        from librehps.runs.listing_chunk import write_chunk

        if self.folder.exists():
            shutil.rmtree(self.folder)
        self.folder.mkdir()
        source, total = iter(items), 0
        while chunk := list(islice(source, CHUNK_ITEMS)):
            file = self.chunk(total)
            write_chunk(file, chunk)
            sync(file)
            total += len(chunk)
        sync(self.folder)
        return total

    def chunk(self, index: int) -> Path:
        """Return the file with the item of this index, which is item `index % CHUNK_ITEMS` in it.

        The file need not exist.
        """
        return self.folder / f"{index // CHUNK_ITEMS:06d}.arrow"

    def items(self) -> Iterator[tuple[int, Item]]:
        """Yield (index, item) for each item."""
        count = sum(1 for _ in self.folder.glob("*.arrow"))
        return enumerate(self.range(0, count * CHUNK_ITEMS))

    def range(self, start: int, end: int) -> Iterator[Item]:
        """Yield the items from index `start` to `end` (exclusive), for a worker of a cluster."""
        from librehps.runs.listing_chunk import read_chunk

        for bounds in _split(start, end):
            yield from read_chunk(self.chunk(bounds[0]), *_within(*bounds))

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
