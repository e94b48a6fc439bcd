"""The changes of folders, as the file system reports them or as a search at intervals finds them.

A change only says when to look: which files there are, and whether they are whole, is read from the
folders. So a lost report delays a row, and no more.
"""

import os
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

from librehps.media.media import kind_by_name

# Reports that come closer together than STEP_MS are one batch, of at most BATCH_MS.
STEP_MS, BATCH_MS = 50, 500
# Without a report, an empty batch comes after this time.
IDLE_MS = 250
POLL_MS = 2000
# Where neither reports nor a search work, folders are listed after this many empty batches.
LISTING_BATCHES = 40
PARTIAL_SUFFIXES = (".tmp", ".part", ".partial", ".crdownload", ".download", ".swp", "~")
PROMPT_SUFFIXES = (".txt", ".json")
# File systems whose other machines, or host, change files without a report to this one.
SHARED_SYSTEMS = frozenset(
    ("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "virtiofs", "vboxsf", "prl_fs", "lustre", "ceph",
     "gpfs", "beegfs", "glusterfs", "afs", "fakeowner")
)  # fmt: skip
# A local file system that containers of a user without rights stand on.
LOCAL_FUSE = "fuse.fuse-overlayfs"
POLLING_VARIABLE = "WATCHFILES_FORCE_POLLING"
MOUNTS_FILE = Path("/proc/self/mounts")


class Batch(NamedTuple):
    """The paths that changed; with `is_unknown` others too, as after a folder came back."""

    changed: frozenset[str] = frozenset()
    is_unknown: bool = False


@dataclass(frozen=True)
class Relevance:
    """The changes that can change the items of watched folders.

    `outputs` are absolute paths whose changes, and those of files named like them, are our own.
    """

    roots: Sequence[str]
    outputs: Collection[str]
    has_sidecars: bool

    def __call__(self, path: str) -> bool:
        """Return whether the change of an absolute path may add, change or remove an item."""
        name = os.path.basename(path)  # noqa: PTH119 - called for each change
        if self._is_hidden(path) or name.endswith(PARTIAL_SUFFIXES):
            return False
        if any(path.startswith(output) for output in self.outputs):
            return False
        if kind_by_name(name) or (self.has_sidecars and name.endswith(PROMPT_SUFFIXES)):
            return True
        # A folder, perhaps one that is gone; its files are not reported when it is renamed.
        return not os.path.isfile(path)  # noqa: PTH113

    def _is_hidden(self, path: str) -> bool:
        for root in self.roots:
            if path.startswith(root):
                return f"{os.sep}." in path[len(root) :]
        return False


@dataclass
class FolderChanges:
    """The changes below the folders `roots`, until `stop` is set; `note` takes messages.

    A folder that is missing is waited for.
    """

    roots: Sequence[str]
    is_relevant: Callable[[str], bool]
    stop: threading.Event
    note: Callable[[str], None]
    is_polling: bool = False
    _is_listing: bool = False

    def __iter__(self) -> Iterator[Batch]:
        """Yield a batch at least every IDLE_MS, the first once changes are seen."""
        while not self.stop.is_set():
            there = identities(self.roots)
            if there is None:
                yield from self._absent()
                continue
            for batch in self._listings() if self._is_listing else self._reports():
                yield batch
                if identities(self.roots) != there:
                    # The folder was moved or removed: its reports end.
                    break

    def _absent(self) -> Iterator[Batch]:
        missing = [root for root in self.roots if not os.path.isdir(root)]  # noqa: PTH112
        self.note(f"waiting for {', '.join(missing)}: the folder was removed")
        while identities(self.roots) is None and not self.stop.wait(IDLE_MS / 1000):
            yield Batch()

    def _listings(self) -> Iterator[Batch]:
        """Yield batches that know of no change, so that the folders must be listed."""
        for at in count():
            yield Batch(is_unknown=at % LISTING_BATCHES == 0)
            if self.stop.wait(IDLE_MS / 1000):
                return

    def _reports(self) -> Iterator[Batch]:
        # Imported here: other commands need no watchfiles.
        from watchfiles import watch

        options: Any = {
            "watch_filter": None,
            "debounce": BATCH_MS,
            "step": STEP_MS,
            "stop_event": self.stop,
            "rust_timeout": IDLE_MS,
            "yield_on_timeout": True,
            "poll_delay_ms": POLL_MS,
        }
        try:
            reports = watch(*self.roots, **options, force_polling=self.is_polling)
            for at, found in enumerate(reports):
                yield self._batch(found, is_unknown=at == 0)
        except FileNotFoundError:
            # Removed between two looks.
            return
        except (OSError, RuntimeError) as error:
            # Too many folders for the limit of the system, or one that may not be read: in a search
            # that is a RuntimeError of watchfiles.
            every_s = LISTING_BATCHES * IDLE_MS / 1000 if self.is_polling else POLL_MS / 1000
            self.note(f"{error}; searching the folders every {every_s:g} s instead")
            self.is_polling, self._is_listing = True, self.is_polling

    def _batch(self, reports: Iterable[tuple[Any, str]], is_unknown: bool) -> Batch:
        paths = {path for _, path in reports}
        return Batch(frozenset(path for path in paths if self.is_relevant(path)), is_unknown)


def must_poll(roots: Iterable[str]) -> str | None:
    """Return why changes must be searched for at intervals, None if the system reports them."""
    wanted = os.environ.get(POLLING_VARIABLE, "")
    if wanted:
        is_wanted = wanted.lower() not in ("false", "disable", "disabled", "0")
        return f"{POLLING_VARIABLE} is set" if is_wanted else None
    for root in roots:
        system = _file_system(root)
        if system in SHARED_SYSTEMS or system.startswith("fuse."):
            return f"{root} is on {system}"
    return None


def _file_system(path: str) -> str:
    """Return the type of the file system that a path is on; empty where this is unknown."""
    try:
        lines = MOUNTS_FILE.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return ""
    place, best, found = os.path.realpath(path), "", ""
    for line in lines:
        _, point, kind, *_ = line.split(" ")
        point = point.encode("utf-8", "surrogateescape").decode("unicode_escape")
        is_above = place == point or place.startswith(point.rstrip("/") + "/")
        if is_above and len(point) >= len(best):
            best, found = point, kind
    return "" if found == LOCAL_FUSE else found


def identities(roots: Iterable[str]) -> list[tuple[int, int]] | None:
    """Return what tells each folder from another of the same name; None if one is missing."""
    found = []
    for root in roots:
        try:
            stat = os.stat(root)  # noqa: PTH116
        except OSError:
            return None
        found.append((stat.st_dev, stat.st_ino))
    return found
