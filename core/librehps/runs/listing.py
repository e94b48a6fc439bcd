"""The listing of a run: the items of the source, frozen in the journal's folder."""

import json
import os
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from librehps.runs.item_json import item_from, to_entry
from librehps.types import Item


class Listing:
    """The items of a source, in order, in the file `listing.jsonl` of a folder.

    The methods raise OSError; the owner of the folder translates this error.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / "listing.jsonl"

    def write(self, items: Iterable[Item]) -> int:
        """Write the items, sync the file to disk, and return the number of items."""
        total = 0
        with self._file.open("w", encoding="utf-8") as file:
            for item in items:
                file.write(json.dumps(to_entry(item)) + "\n")
                total += 1
            file.flush()
            os.fsync(file.fileno())
        return total

    def entries(self) -> Iterator[tuple[int, str]]:
        """Yield (index, JSON of `item_json.to_entry`) for each item."""
        with self._file.open(encoding="utf-8") as file:
            for index, line in enumerate(file):
                yield index, line.rstrip("\n")

    def range(self, start: int, end: int) -> Iterator[Item]:
        """Yield the items from index `start` to `end` (exclusive), for a worker of a cluster."""
        for _, line in islice(self.entries(), start, end):
            yield item_from(json.loads(line))
