"""The journal of a run: OUT.journal/ keeps every row on disk until the output is written.

`run.json` holds settings and request, `listing.jsonl` the items of the source, `rows.jsonl` one
line per row: [index in the listing, "ok" or "error", record, own columns]. A line that a kill cut
off is dropped; a later line with the same index replaces the earlier one.
"""

import errno
import json
import os
import re
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

from librehps.errors import UsageError
from librehps.files import write_whole, writing
from librehps.runs.item_json import Listed
from librehps.runs.journal_folder import JournalFolder
from librehps.runs.listing import Listing
from librehps.storage.store import stat
from librehps.types import Item

Record = dict[str, Any]
NEW, OK, ERROR = 0, 1, 2
STATUS = {"ok": OK, "error": ERROR}
# Version of the folder's layout; librehps 0.1.0 wrote 1.
LAYOUT = 2
OTHER_LAYOUT_HINT = (
    "Finish the run with the version that began it, or use --overwrite to start over."
)
# Key in run.json while rows of a complete output are copied into the journal: a journal with this
# key is ignored, and the output is still valid.
SEEDING = "seeding"
# The beginning of each line of rows.jsonl.
ROW = re.compile(rb'\[(\d+), "(ok|error)", \{')


def stamp(place: str) -> list[Any]:
    """Return [size in bytes, text that changes with the content] of a file or URL."""
    found = stat(place)
    return [found.size, found.stamp]


class Journal:
    """The journal of one run; `run` is the content of run.json, `status` NEW, OK or ERROR per item.

    Without `keeps_rows` the caller stores the rows and sets `status`. A failed write raises
    OutputError. One process at a time can open a journal.
    """

    def __init__(self, folder: Path, keeps_rows: bool = True) -> None:
        self.folder, self._keeps_rows = folder, keeps_rows
        self.listing = Listing(folder)
        self.run: Record = {}
        self.status = bytearray()
        self._offsets = array("q")
        self._end = 0
        self._rows: Any = None
        self._place = JournalFolder(folder)

    @property
    def is_frozen(self) -> bool:
        """True if the journal is valid: the listing and any copied rows are complete."""
        file = self._place.run_file
        return file.exists() and SEEDING.encode() not in file.read_bytes()

    def open(self, clear: bool = False) -> None:
        """Lock the journal, and read the files of an earlier run, or delete them with `clear`.

        Raises UsageError where another process holds the lock, or the journal is invalid.
        """
        with writing(self.folder, "Choose an output in another folder."):
            self._place.lock()
        with self._translated(), ExitStack() as after_error:
            after_error.callback(self.close)
            if clear or not self.is_frozen:
                self._place.clear()
            if self.is_frozen:
                self.run = self._read_run()
                self._recover()
            after_error.pop_all()

    def freeze(
        self,
        listed: Listed,
        facts: Mapping[str, Any],
        check: Callable[[Mapping[str, Any]], object],
    ) -> None:
        """Write the listing and run.json, which makes it valid; `check` may raise on the facts."""
        with self._translated():
            total = self.listing.write(listed.items())
            found = listed.facts()
            check(found)
            self.run = {**facts, **found, "total": total, "layout": LAYOUT}
            self.run["stamps"] = {name: stamp(name) for name in found["containers"]}
            (self.folder / "rows.jsonl").unlink(missing_ok=True)
            self.write_run()
            self._recover()

    def write_run(self) -> None:
        """Write `run` to run.json, and sync the file to disk."""
        with self._translated():
            write_whole(self.folder / "run.json", json.dumps(self.run, indent=1) + "\n")

    def items(self, wanted: set[int]) -> Iterator[tuple[int, Item]]:
        """Yield (index, item) for each listed item whose status is in `wanted`."""
        with self._translated():
            for index, item in self.listing.items():
                if self.status[index] in wanted:
                    yield index, item

    def entries(self, wanted: set[int]) -> Iterator[tuple[int, str]]:
        """Yield (index, JSON of `item_json.to_entry`) for each item whose status is in `wanted`."""
        with self._translated():
            for index, entry in self.listing.entries():
                if self.status[index] in wanted:
                    yield index, entry

    def append(self, index: int, record: Record, own: Mapping[str, Any]) -> None:
        """Append an item's row, which survives a kill, and after `commit` a power loss."""
        line = json.dumps([index, record["status"], record, dict(own)]).encode() + b"\n"
        with self._translated():
            written = self._rows.write(line)
            if written != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._offsets[index] = self._end
        self._end += len(line)
        self.status[index] = STATUS[record["status"]]

    def commit(self) -> None:
        """Sync the appended rows to disk."""
        with self._translated():
            os.fsync(self._rows.fileno())

    def rows(self) -> Iterator[tuple[Record, Record]]:
        """Yield (record, own columns) of every item, in the order of the listing."""
        with self._translated(), (self.folder / "rows.jsonl").open("rb") as file:
            for offset in self._offsets:
                if file.tell() != offset:
                    file.seek(offset)
                _, _, record, own = json.loads(file.readline())
                yield record, own

    def error_types(self) -> Counter[str]:
        """Return the number of failed rows by error type."""
        found: Counter[str] = Counter()
        with self._translated(), (self.folder / "rows.jsonl").open("rb") as file:
            for offset, status in zip(self._offsets, self.status, strict=True):
                if status == ERROR:
                    file.seek(offset)
                    found[json.loads(file.readline())[2]["error_type"]] += 1
        return found

    def counts(self) -> tuple[int, int, int]:
        """Return the number of items (new, ok, error)."""
        return self.status.count(NEW), self.status.count(OK), self.status.count(ERROR)

    def close(self) -> None:
        if self._rows is not None:
            self._rows.close()
            self._rows = None
        self._place.unlock()

    def delete(self) -> None:
        """Delete the folder, and release the lock last; after a kill the rest is no journal."""
        if self._rows is not None:
            self._rows.close()
            self._rows = None
        self._place.delete()

    def _read_run(self) -> Record:
        try:
            run: Record = json.loads((self.folder / "run.json").read_text(encoding="utf-8"))
        except ValueError:
            run = {}
        layout = run.get("layout")
        if layout != LAYOUT:
            is_other = isinstance(layout, int)
            why = f"of another version of librehps, layout {layout}" if is_other else "damaged"
            raise UsageError(
                f"{self.folder}: invalid journal ({why}; expected layout {LAYOUT})",
                hint=OTHER_LAYOUT_HINT if is_other else "Use --overwrite to start over.",
            )
        return run

    def _recover(self) -> None:
        """Index every complete line of rows.jsonl, and cut off the rest of the file."""
        total = self.run["total"]
        self.status = bytearray(total)
        if not self._keeps_rows:
            return
        self._offsets = array("q", [-1]) * total
        self._end = 0
        # Unbuffered, so that the operating system has a row once `append` returns.
        self._rows = (self.folder / "rows.jsonl").open("ab", buffering=0)
        with (self.folder / "rows.jsonl").open("rb") as file:
            for line in file:
                found = ROW.match(line)
                # A kill or a power loss can leave an incomplete last line.
                if found is None or not line.endswith(b"\n"):
                    break
                index = int(found[1])
                self.status[index] = STATUS[found[2].decode()]
                self._offsets[index] = self._end
                self._end += len(line)
        self._rows.truncate(self._end)

    def _translated(self) -> AbstractContextManager[None]:
        return writing(self.folder, "Rows scored so far are kept: continue with --resume.")
