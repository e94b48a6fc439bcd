"""Outages: a run pauses when many items in a row cannot be read for one reason."""

import logging
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from librehps.engine.window import Ready
from librehps.errors import MediaDeniedError, MediaNotFoundError, NetworkError, OutageError
from librehps.media.media import Media
from librehps.storage.limits import positive
from librehps.storage.places import host_of, is_remote
from librehps.storage.retry import now

log = logging.getLogger("librehps")

# Items in a row that make an outage; the first wait before the next try, which doubles.
MIN_ITEMS, FIRST_WAIT_S, MAX_WAIT_S = 20, 5.0, 60.0
# Hosts that are known to have given files.
MAX_HOSTS = 1000
# Environment variable: the longest outage in seconds; 0 makes every item an error row at once.
LIMIT_VARIABLE, LIMIT_S = "LIBREHPS_OUTAGE_LIMIT", 600.0


def pause(stop: threading.Event, seconds: float) -> bool:
    """Wait; return whether the run was stopped."""
    return stop.wait(seconds)


@dataclass
class OutageWatch:
    """A watch on the errors of items, in the order of the items.

    These count: failures of the network; denied access, where the host gave files before; and
    missing files, after the folder of a file that was read before is gone, as when a mount ends.
    """

    stop: threading.Event
    _count: int = 0
    _hosts: set[str] = field(default_factory=set)
    # The folder of a local file that was read, and its device.
    _folder: tuple[str, int] | None = None
    _lasted: float = 0.0

    def lost(self, ready: Sequence[Ready]) -> list[int]:
        """Return the indices of the items that an outage took; empty if there is no outage."""
        is_gone, lost, longest = _is_gone(self._folder), list[int](), 0
        for at, one in enumerate(ready):
            if self._is_lost(one, is_gone):
                lost.append(at)
                self._count += 1
                longest = max(longest, self._count)
                continue
            self._count = 0
            if one.error is None:
                self._remember(Media(one.item.media).place)
        if longest >= MIN_ITEMS and outage_limit():
            return lost
        if len(lost) < len(ready):
            self._lasted = 0.0
        return []

    def may_begin(self, ready: Sequence[Ready]) -> bool:
        """Return whether the items end with some, but too few, that an outage may have taken."""
        is_gone, count = _is_gone(self._folder), 0
        for one in reversed(ready):
            if not self._is_lost(one, is_gone) or count >= MIN_ITEMS:
                break
            count += 1
        return 0 < count < MIN_ITEMS and outage_limit() > 0

    def lost_again(self, ready: Sequence[Ready]) -> list[int]:
        """Return the same for items that were tried again, which are counted once."""
        self._count = 0
        return self.lost(ready)

    def wait(self, lost: Ready, attempt: int) -> bool:
        """Wait until the next try; return whether the run was stopped. Raises OutageError."""
        seconds = min(FIRST_WAIT_S * 2.0**attempt, MAX_WAIT_S)
        message = f"{self._count} items in a row cannot be read"
        if self._lasted + seconds > outage_limit():
            raise OutageError(
                f"{message}, for {self._lasted:.0f} s: {lost.error}",
                hint=f"Continue with --resume once they can be read. {LIMIT_VARIABLE}=0 writes "
                "an error row for each instead of waiting.",
            )
        log.warning("%s: the run pauses, next try in %.0f s (%s)", message, seconds, lost.error)
        since = now()
        is_stopped = pause(self.stop, seconds)
        self._lasted += max(seconds, now() - since)
        return is_stopped

    def is_over(self, probe: Ready) -> bool:
        """Return whether an item that was lost could be read, or fails for another reason now."""
        return not self._is_lost(probe, _is_gone(self._folder))

    def _is_lost(self, ready: Ready, is_gone: bool) -> bool:
        error = ready.error
        if isinstance(error, MediaDeniedError):
            return error.host in self._hosts
        is_missing = isinstance(error, MediaNotFoundError) and not is_remote(ready.item.media)
        return isinstance(error, NetworkError) or (is_missing and is_gone)

    def _remember(self, place: str) -> None:
        if host := host_of(place):
            if len(self._hosts) < MAX_HOSTS:
                self._hosts.add(host)
            return
        folder = str(Path(place).parent)
        if place and (self._folder is None or self._folder[0] != folder):
            try:
                self._folder = folder, Path(folder).stat().st_dev
            except OSError:
                # Gone since; the folder before stays.
                return


def outage_limit() -> float:
    """Return the longest outage in seconds that a run waits for; raises UsageError."""
    return positive(LIMIT_VARIABLE, os.environ.get(LIMIT_VARIABLE, ""), LIMIT_S, least=0.0)


def _is_gone(folder: tuple[str, int] | None) -> bool:
    """Return whether a folder does not exist, or lies on another device than before."""
    if folder is None:
        return False
    try:
        return Path(folder[0]).stat().st_dev != folder[1]
    except OSError:
        return True
