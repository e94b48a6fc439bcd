"""The folder of a journal: used by one process at a time, and deleted in an order that kills allow.

`run.json` makes the folder a journal, so that this file is deleted first, and the rest is garbage.
"""

import contextlib
import os
import shutil
from pathlib import Path

from librehps.files import sync, write_whole
from librehps.locks import OWNER_SUFFIX, ProcessLock
from librehps.runs.listing import LISTING
from librehps.storage.outputs import content_of

RUN_FILE, LOCK_FILE = "run.json", "lock"
KEPT = (LOCK_FILE, LOCK_FILE + OWNER_SUFFIX)


class JournalFolder:
    """The folder `path` of a journal, and its lock; methods raise OSError."""

    def __init__(self, path: Path) -> None:
        self.path, self.run_file = path, path / RUN_FILE
        self._lock = ProcessLock(path / LOCK_FILE)

    def is_there(self) -> bool:
        """Return whether the folder exists."""
        return self.path.exists()

    def run(self) -> bytes | None:
        """Return the content of run.json, None if there is none."""
        return content_of(self.run_file)

    def write_run(self, content: bytes, is_new: bool) -> None:
        """Write run.json, and sync the file to disk; the lock keeps other processes out."""
        write_whole(self.run_file, content)

    def listing_name(self) -> str:
        """Return the name of the folder for a new listing."""
        return LISTING

    def delete_rows(self) -> None:
        """Delete the rows of an earlier run."""
        for rows in self.path.glob("rows.*"):
            rows.unlink()

    def lock(self) -> None:
        """Make the folder and lock it; raises UsageError where another process holds the lock."""
        if not self.path.exists():
            self.path.mkdir(exist_ok=True)
            # A power loss must not take the name of the folder, and all rows with it.
            sync(self.path.absolute().parent)
        self._lock.acquire(str(self.path))

    def unlock(self) -> None:
        """Release the lock, if it is held."""
        self._lock.release()

    def clear(self, kept: str = "") -> None:
        """Delete everything but the lock, and but files of the pattern `kept`."""
        if self.run_file.exists():
            self.run_file.unlink()
            sync(self.path)
        for file in self.path.iterdir():
            if file.name in KEPT or file.match(kept or LOCK_FILE):
                continue
            if file.is_dir() and not file.is_symlink():
                shutil.rmtree(file)
            else:
                file.unlink(missing_ok=True)

    def delete(self) -> None:
        """Delete the folder as far as possible, and release the lock last."""
        with contextlib.suppress(OSError):
            self.clear()
        if os.name == "nt":
            # Windows cannot delete an open file.
            self.unlock()
        with contextlib.suppress(OSError):
            self._lock.path.unlink(missing_ok=True)
        self.unlock()
        # Fails where something could not be deleted, or another process makes a new journal.
        with contextlib.suppress(OSError):
            self.path.rmdir()
