"""The journal of a run: OUT.journal/ keeps every row on disk until the output is written.

`run.json` holds settings and request, the listing the items of the source (`listing.py`), and two
files the rows (`row_store.py`). The journal of an output in a bucket lies next to that output.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from librehps.errors import UsageError
from librehps.files import writing
from librehps.runs.bucket_journal import BucketJournal
from librehps.runs.item_json import Listed
from librehps.runs.journal_folder import JournalFolder
from librehps.runs.listing import LISTING, Listing
from librehps.runs.row_status import ERROR as ERROR
from librehps.runs.row_status import NEW as NEW
from librehps.runs.row_status import OK as OK
from librehps.settings import Settings
from librehps.storage.store import stat
from librehps.storage.url_path import AnyPath, UrlPath
from librehps.types import Item, ScoredRow

if TYPE_CHECKING:
    from librehps.runs.row_store import RowStore

Record = dict[str, Any]
# Version of the folder's layout; librehps 0.1.0 wrote 1. Older layouts that can be continued: 2 has
# rows as Parquet and repeats the columns of the listing, 3 has all columns of Arrow as they are, 4
# has no checksum for the listing.
LAYOUT, READ_LAYOUTS = 5, (2, 3, 4, 5)
# Key in run.json: the rows have perceptual hashes.
HASHES = "hashes"
OTHER_LAYOUT_HINT = (
    "Finish the run with the version that began it, or use --overwrite to start over."
)
# Key in run.json while rows of a complete output are copied into the journal: a journal with this
# key is ignored, and the output is still valid.
SEEDING = "seeding"
# Rows of an interrupted update, which outlive the listing: the next update lists its source again.
KNOWN_FILES = "known-*.parquet"


def stamp(place: str) -> list[Any]:
    """Return [size in bytes, text that changes with the content] of a file or URL."""
    found = stat(place)
    return [found.size, found.stamp]


class Journal:
    """The journal of one run; `run` is the content of run.json, `status` NEW, OK or ERROR per item.

    Without `keeps_rows` the caller stores the rows and sets `status`. A failed write raises
    OutputError. One process at a time can open a journal.
    """

    def __init__(self, folder: AnyPath, keeps_rows: bool = True) -> None:
        self.folder, self._keeps_rows = folder, keeps_rows
        self.run: Record = {}
        self.status = bytearray()
        self._rows: RowStore | None = None
        self._place = (
            BucketJournal(folder) if isinstance(folder, UrlPath) else JournalFolder(folder)
        )
        self.listing = Listing(folder, self._place.listing_name())

    @property
    def is_frozen(self) -> bool:
        """True if the journal is valid: the listing and any copied rows are complete."""
        content = self._place.run()
        return content is not None and SEEDING not in _record(content)

    def open(self, clear: bool = False) -> None:
        """Lock the journal, and read the files of an earlier run, or delete them with `clear`.

        Raises UsageError where another process holds the lock, or the journal is invalid.
        """
        with writing(self.folder, "Choose an output in another folder."):
            self._place.lock()
        with self._translated(), ExitStack() as after_error:
            after_error.callback(self.close)
            if clear or not self.is_frozen:
                self._place.clear("" if clear else KNOWN_FILES)
            if self.is_frozen:
                self.run = self._read_run()
                self._recover()
            after_error.pop_all()

    def known_files(self) -> list[Path]:
        """Return the files with rows of interrupted updates."""
        return sorted(self.folder.glob(KNOWN_FILES)) if isinstance(self.folder, Path) else []

    def restart(self) -> None:
        """Forget the listing and its rows, but not the `known_files`."""
        self._close_rows()
        self.run, self.status = {}, bytearray()
        with self._translated():
            self._place.clear(KNOWN_FILES)

    def freeze(
        self,
        listed: Listed,
        facts: Mapping[str, Any],
        check: Callable[[Mapping[str, Any]], object],
    ) -> None:
        """Write the listing and run.json, which makes it valid; `check` may raise on the facts."""
        with self._translated():
            total = self.listing.write(listed.item_columns())
            found = listed.facts()
            check(found)
            self.run = {**facts, **found, "total": total, "layout": LAYOUT}
            self.run["stamps"] = {name: stamp(name) for name in found["containers"]}
            if self.listing.folder.name != LISTING:
                self.run[LISTING] = self.listing.folder.name
            self._place.delete_rows()
            self.write_run(is_new=True)
            self._recover()

    def write_run(self, is_new: bool = False) -> None:
        """Write `run` to run.json, and sync the file to disk.

        Raises UsageError where another process has started the run that `is_new` here.
        """
        with self._translated():
            content = json.dumps(self.run, indent=1) + "\n"
            self._place.write_run(content.encode(), is_new)

    def blocks(self, wanted: set[int]) -> Iterator[tuple[Sequence[int], Sequence[Item]]]:
        """Yield (indices, items) of the listed items whose status is in `wanted`, in order."""

        def choose(start: int, end: int) -> Sequence[int]:
            status = self.status[start:end]
            if wanted.issuperset(status):
                return range(start, end)
            return [at for at, one in enumerate(status, start) if one in wanted]

        with self._translated():
            yield from self.listing.chosen(len(self.status), choose)

    @property
    def has_hashes(self) -> bool:
        """True if the rows of the run have perceptual hashes, which older versions lack."""
        return bool(self.run.get(HASHES))

    @property
    def rows(self) -> "RowStore":
        """The rows of the run; reads and writes may raise OSError."""
        assert self._rows is not None  # noqa: S101 - an open journal that keeps rows has them
        return self._rows

    def append(self, indices: Any, rows: Sequence[ScoredRow]) -> None:
        """Append rows of items, which survive a kill, and after `commit` a power loss."""
        with self._translated():
            self._mark_layout()
            self.rows.append(indices, rows)

    def append_batch(self, batch: Any) -> None:
        """Append rows as an Arrow batch like `append`."""
        with self._translated():
            self._mark_layout()
            self.rows.append_batch(batch)

    def commit(self) -> None:
        """Sync the appended rows to disk."""
        with self._translated():
            self.rows.sync()

    def error_types(self) -> Counter[str]:
        """Return the number of failed rows by error type."""
        with self._translated():
            return self.rows.error_types()

    def counts(self) -> tuple[int, int, int]:
        """Return the number of items (new, ok, error)."""
        return self.status.count(NEW), self.status.count(OK), self.status.count(ERROR)

    def close(self) -> None:
        self._close_rows()
        self._place.unlock()

    def delete_rest(self) -> None:
        """Delete what a kill has left of the journal of a complete output."""
        if self._place.is_there() and not self.is_frozen:
            # Another process may be at it.
            with suppress(UsageError, OSError):
                self._place.lock()
                self._place.clear()
                self._place.delete()

    def delete(self) -> None:
        """Delete the folder, and release the lock last; after a kill the rest is no journal."""
        self._close_rows()
        self._place.delete()

    def _close_rows(self) -> None:
        if self._rows is not None:
            self._rows.close()
            self._rows = None

    def _read_run(self) -> Record:
        run = _record(self._place.run() or b"")
        self.listing = Listing(self.folder, run.get(LISTING, LISTING))
        layout = run.get("layout")
        if layout not in READ_LAYOUTS:
            is_other = isinstance(layout, int)
            why = f"of another version of librehps, layout {layout}" if is_other else "damaged"
            raise UsageError(
                f"{self.folder}: invalid journal ({why}; expected layout {LAYOUT})",
                hint=OTHER_LAYOUT_HINT if is_other else "Use --overwrite to start over.",
            )
        return run

    def _recover(self) -> None:
        """Find the rows of an earlier run, and cut off an incomplete last write."""
        self.status = bytearray(self.run["total"])
        if self._keeps_rows and isinstance(self.folder, Path):
            # Imported here: a row on stdout needs no pyarrow.
            from librehps.runs.listed_columns import ListedColumns
            from librehps.runs.row_store import RowStore
            from librehps.scores.row_batch import RowSchema

            settings = Settings.from_record(self.run["settings"])
            schema = RowSchema(settings, self.run["own_columns"], self.has_hashes)
            listed = ListedColumns(self.listing, schema.listed_types)
            self._rows = RowStore(self.folder, schema, self.status, listed)

    def _mark_layout(self) -> None:
        """Refuse the journal to versions that cannot read the rows that follow."""
        if self.run["layout"] != LAYOUT:
            self.run["layout"] = LAYOUT
            self.write_run()

    def _translated(self) -> AbstractContextManager[None]:
        return writing(self.folder, "Rows scored so far are kept: continue with --resume.")


def _record(content: bytes) -> Record:
    """Return the content of run.json; empty if the file is damaged."""
    try:
        found = json.loads(content)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
