"""The folder of a journal in a bucket, where no process can hold a lock.

Two processes that start one output both list its items, each in a folder of its own; the first that
creates run.json has the run. Two that resume one run write the same parts.
"""

import secrets

from librehps.errors import UsageError
from librehps.runs.journal_folder import RUN_FILE
from librehps.runs.listing import LISTING
from librehps.storage import writes
from librehps.storage.outputs import content_of, listed, remove, remove_below
from librehps.storage.url_path import UrlPath


class BucketJournal:
    """The journal's folder at a URL, with the methods of JournalFolder; methods raise StorageError.

    run.json is read once, and again after `lock`.
    """

    def __init__(self, path: UrlPath) -> None:
        self.path, self.run_file = path, path / RUN_FILE
        self._own = f"{LISTING}-{secrets.token_hex(6)}"
        self._run: bytes | None = None
        self._is_known = False

    def is_there(self) -> bool:
        """Return whether there are files in the folder."""
        return bool(listed(self.path))

    def run(self) -> bytes | None:
        """Return the content of run.json, None if there is none."""
        if not self._is_known:
            self._run, self._is_known = content_of(self.run_file), True
        return self._run

    def write_run(self, content: bytes, is_new: bool) -> None:
        """Write run.json; raises UsageError where another process has created a new one."""
        if not is_new:
            writes.write(self.run_file.url, content)
        elif not writes.create(self.run_file.url, content):
            raise UsageError(
                f"another process is writing to {self.path}",
                hint="Wait until it has ended, or choose another output.",
            )
        self._run, self._is_known = content, True

    def listing_name(self) -> str:
        """Return the name of the folder for a new listing."""
        return self._own

    def delete_rows(self) -> None:
        """Do nothing: the rows are in parts."""

    def lock(self) -> None:
        """Forget what run.json was before."""
        self._is_known = False

    def unlock(self) -> None:
        """Do nothing: there is no lock."""

    def clear(self, kept: str = "") -> None:
        """Delete run.json, and without a pattern of files to keep all other files.

        With a pattern nothing else: another process may be listing its items there.
        """
        if self.run() is not None:
            remove([self.run_file])
        self._run = None
        if not kept:
            remove_below(self.path)

    def delete(self) -> None:
        """Delete the folder; without run.json only what this process has listed and scored.

        Another process may have the run, or be listing its items.
        """
        if self.run() is not None:
            self.clear()
            return
        for inside in listed(self.path):
            if inside.name.startswith(self._own):
                remove_below(inside)
