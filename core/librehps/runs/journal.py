"""The journal of a run: OUT.journal/ keeps every row on disk until the output is whole.

`run.json` holds the request, `listing.jsonl` the frozen source, `rows.jsonl` grows by one line a
row: [index in the listing, "ok" or "error", record, own columns]. A line cut off by a kill is
dropped; a later line of an index replaces the earlier one.
"""

import errno
import json
import os
import re
import shutil
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from filelock import BaseFileLock, FileLock, Timeout

from librehps.errors import UsageError
from librehps.files import write_whole, writing
from librehps.runs.item_json import Listed, item_from, to_entry
from librehps.types import Item

Record = dict[str, Any]
NEW, OK, ERROR = 0, 1, 2
STATUS = {"ok": OK, "error": ERROR}
# Number of the folder's layout; version 0.1.0 wrote 1.
LAYOUT = 1
LOCK_FILE = "lock"
# Key in run.json while the rows of a finished output are copied into the journal: until that is
# done, the output counts and the journal does not.
SEEDING = "seeding"
# How a line of rows.jsonl begins.
ROW = re.compile(rb'\[(\d+), "(ok|error)", \{')


def stamp(file: str) -> list[int]:
    """Return size and time of the last change of a file, as JSON."""
    found = Path(file).stat()
    return [found.st_size, found.st_mtime_ns]


class Journal:
    """The journal of one run; `run` is the content of run.json, `status` NEW, OK or ERROR per item.

    Without `keeps_rows` the rows are kept elsewhere, and the caller sets `status`. A failed write
    raises OutputError. Only one process at a time can hold a journal.
    """

    def __init__(self, folder: Path, keeps_rows: bool = True) -> None:
        self.folder, self._keeps_rows = folder, keeps_rows
        self.run: Record = {}
        self.status = bytearray()
        self._offsets = array("q")
        self._end = 0
        self._rows: Any = None
        self._lock: BaseFileLock | None = None

    @property
    def is_frozen(self) -> bool:
        """Whether the listing is complete, and the rows of an earlier output are copied."""
        file = self.folder / "run.json"
        return file.exists() and SEEDING.encode() not in file.read_bytes()

    def open(self, clear: bool = False) -> None:
        """Take the lock, and read the journal of an earlier run, or with `clear` delete its files.

        Raises UsageError where another process holds the lock, or the journal is unreadable.
        """
        with self._translated():
            self.folder.mkdir(exist_ok=True)
            self._take_lock()
            if clear or not self.is_frozen:
                self._clear()
            if self.is_frozen:
                self.run = self._read_run()
                self._recover()

    def freeze(
        self,
        listed: Listed,
        facts: Mapping[str, Any],
        check: Callable[[Mapping[str, Any]], object],
    ) -> None:
        """Write the listing, then run.json, which makes it valid; `check` may refuse its facts."""
        with self._translated():
            with (self.folder / "listing.jsonl").open("w", encoding="utf-8") as file:
                total = 0
                for item in listed.items():
                    file.write(json.dumps(to_entry(item)) + "\n")
                    total += 1
                file.flush()
                os.fsync(file.fileno())
            found = listed.facts()
            check(found)
            self.run = {**facts, **found, "total": total, "layout": LAYOUT}
            self.run["stamps"] = {name: stamp(name) for name in found["containers"]}
            (self.folder / "rows.jsonl").unlink(missing_ok=True)
            self.write_run()
            self._recover()

    def write_run(self) -> None:
        """Write `run` to run.json, on the disk itself."""
        with self._translated():
            write_whole(self.folder / "run.json", json.dumps(self.run, indent=1) + "\n")

    def items(self, wanted: set[int]) -> Iterator[tuple[int, Item]]:
        """Yield (index, item) of the listing's items whose status is wanted."""
        for index, line in self.entries(wanted):
            yield index, item_from(json.loads(line))

    def entries(self, wanted: set[int]) -> Iterator[tuple[int, str]]:
        """Yield (index, JSON of `item_json.to_entry`) of the items whose status is wanted."""
        with self._translated(), (self.folder / "listing.jsonl").open(encoding="utf-8") as file:
            for index, line in enumerate(file):
                if self.status[index] in wanted:
                    yield index, line.rstrip("\n")

    def append(self, index: int, record: Record, own: Mapping[str, Any]) -> None:
        """Add an item's row: a kill of this process cannot lose it, nor a crash after `commit`."""
        line = json.dumps([index, record["status"], record, dict(own)]).encode() + b"\n"
        with self._translated():
            written = self._rows.write(line)
            if written != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._offsets[index] = self._end
        self._end += len(line)
        self.status[index] = STATUS[record["status"]]

    def commit(self) -> None:
        """Write the rows through to the disk itself."""
        with self._translated():
            os.fsync(self._rows.fileno())

    def rows(self) -> Iterator[tuple[Record, Record]]:
        """Yield (record, own columns) of every item, in order of the listing."""
        with self._translated(), (self.folder / "rows.jsonl").open("rb") as file:
            for offset in self._offsets:
                if file.tell() != offset:
                    file.seek(offset)
                _, _, record, own = json.loads(file.readline())
                yield record, own

    def error_types(self) -> Counter[str]:
        """Return how many rows have each type of error."""
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
        if self._lock is not None:
            self._lock.release()
        self._rows = self._lock = None

    def delete(self) -> None:
        """Remove the folder; the lock goes last."""
        if self._rows is not None:
            self._rows.close()
            self._rows = None
        shutil.rmtree(self.folder, ignore_errors=True)
        self.close()
        if os.name == "nt":
            # Windows removes no file that is open, as the lock was.
            shutil.rmtree(self.folder, ignore_errors=True)

    def _clear(self) -> None:
        """Delete everything but the lock; run.json first, since the rest is invalid without it."""
        for file in [self.folder / "run.json", *self.folder.iterdir()]:
            if file.name != LOCK_FILE:
                file.unlink(missing_ok=True)

    def _read_run(self) -> Record:
        try:
            run: Record = json.loads((self.folder / "run.json").read_text(encoding="utf-8"))
        except ValueError:
            run = {}
        if run.get("layout") != LAYOUT:
            raise UsageError(
                f"{self.folder} is torn, or of another version of librehps",
                hint="--overwrite starts over.",
            )
        return run

    def _recover(self) -> None:
        """Find every whole line of rows.jsonl, and cut off what follows the last."""
        total = self.run["total"]
        self.status = bytearray(total)
        if not self._keeps_rows:
            return
        self._offsets = array("q", [-1]) * total
        self._end = 0
        # Unbuffered: a row is with the system once `append` returns.
        self._rows = (self.folder / "rows.jsonl").open("ab", buffering=0)
        with (self.folder / "rows.jsonl").open("rb") as file:
            for line in file:
                found = ROW.match(line)
                # What a kill or a loss of power left at the end.
                if found is None or not line.endswith(b"\n"):
                    break
                index = int(found[1])
                self.status[index] = STATUS[found[2].decode()]
                self._offsets[index] = self._end
                self._end += len(line)
        self._rows.truncate(self._end)

    def _take_lock(self) -> None:
        # Whichever thread closes the journal gives the lock back.
        lock = FileLock(self.folder / LOCK_FILE, timeout=0, thread_local=False)
        try:
            lock.acquire()
        except Timeout:
            raise UsageError(f"another process is writing to {self.folder}") from None
        self._lock = lock

    def _translated(self) -> AbstractContextManager[None]:
        hint = "Rows written before it are kept; make room and go on with --resume."
        return writing(self.folder, hint)
