"""Outages: a run pauses when many items in a row cannot be read for one reason."""

import logging
import os
import threading
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from librehps.engine.ready import Ready
from librehps.errors import MediaDeniedError, MediaNotFoundError, NetworkError, OutageError
from librehps.media.media import place_of
from librehps.storage.limits import positive
from librehps.storage.places import host_of, is_remote
from librehps.storage.retry import now
from librehps.types import Item

log = logging.getLogger("librehps")

# Items in a row that make an outage; the first wait before the next try, which doubles.
MIN_ITEMS, FIRST_WAIT_S, MAX_WAIT_S = 20, 5.0, 60.0
# Hosts that are known to have given files, or to give none; those tried while a run pauses.
MAX_HOSTS, MAX_PROBES = 1000, 3
# The longest pause for a host that gave no file yet, while other hosts answer: a list of the web
# names many hosts that are gone.
NEW_HOST_LIMIT_S = 60.0
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
    # The latest item that was read from each host, the host of the latest last.
    _hosts: dict[str, Item] = field(default_factory=dict)
    # Hosts whose items are error rows until one of them can be read.
    _dead: set[str] = field(default_factory=set)
    # The folder of a local file that was read, and its device.
    _folder: tuple[str, int] | None = None
    _lasted: float = 0.0

    def lost(self, ready: Sequence[Ready], are_read: bool = False) -> list[int]:
        """Return the indices of the items that an outage took; empty if there is no outage.

        `are_read`: all are known to be local files that were read.
        """
        if are_read and ready and not self._dead:
            self._count, self._lasted = 0, 0.0
            self.remember(ready[-1])
            return []
        lost, longest = self._lost_in_a_row(ready)
        if longest >= MIN_ITEMS and outage_limit():
            return lost
        if len(lost) < len(ready):
            self._lasted = 0.0
        return []

    def _lost_in_a_row(self, ready: Sequence[Ready]) -> tuple[list[int], int]:
        """Return the indices of lost items, and the most of them in a row, dead hosts left out."""
        is_gone, lost, longest = _is_gone(self._folder), list[int](), 0
        local: Ready | None = None
        for at, one in enumerate(ready):
            if one.error is None and not self._dead and isinstance(one.item.media, str):
                # Of the local files in a row only the last matters.
                self._count, local = 0, one
                continue
            self._remember_local(local)
            local = None
            if self._is_dead(one):
                continue
            if self._is_lost(one, is_gone):
                lost.append(at)
                self._count += 1
                longest = max(longest, self._count)
                continue
            self._count = 0
            self.remember(one)
        self._remember_local(local)
        return lost, longest

    def may_begin(self, ready: Sequence[Ready]) -> bool:
        """Return whether the items end with some, but too few, that an outage may have taken."""
        is_gone, count = _is_gone(self._folder), 0
        for one in reversed(ready):
            if self._is_dead(one):
                continue
            if not self._is_lost(one, is_gone) or count >= MIN_ITEMS:
                break
            count += 1
        return 0 < count < MIN_ITEMS and outage_limit() > 0

    def lost_again(self, ready: Sequence[Ready], others_answer: bool) -> list[int]:
        """Return the same for items that were tried again, which are counted once.

        While other hosts answer, the network is not away: only many items of one host, or of hosts
        that gave files before, are worth a pause. The others keep their errors.
        """
        self._count = 0
        lost = self.lost(ready)
        if not others_answer:
            return lost
        items = Counter(_host(ready[at]) for at in lost)
        known = items.keys() & self._hosts.keys()
        many = {host for host, count in items.items() if count >= MIN_ITEMS}
        if sum(items[host] for host in known) >= MIN_ITEMS:
            many |= known
        self._give_up(items.keys() - known - many)
        return [at for at in lost if _host(ready[at]) in many]

    def probes(self, ready: Sequence[Ready], lost: Sequence[int]) -> list[int]:
        """Return the first lost item of each of a few hosts, by index."""
        first = {_host(ready[at]): at for at in reversed(lost)}
        return sorted(first.values())[:MAX_PROBES]

    def witnesses(self, ready: Sequence[Ready], lost: Sequence[int]) -> list[Item]:
        """Return items that were read before, of the latest hosts that have lost no item."""
        hosts = {"", *(_host(ready[at]) for at in lost)}
        return [item for host, item in self._hosts.items() if host not in hosts][-MAX_PROBES:]

    def wait(self, ready: Sequence[Ready], lost: list[int], attempt: int, answer: bool) -> bool:
        """Wait until the next try; return false when no try is worth the wait.

        `answer`: other hosts answer, so that after the longest pause the items of the hosts that do
        not are error rows. Otherwise raises OutageError.
        """
        hosts, error = {_host(ready[at]) for at in lost}, ready[lost[0]].error
        seconds = min(FIRST_WAIT_S * 2.0**attempt, MAX_WAIT_S)
        limit = outage_limit()
        if answer and not hosts & self._hosts.keys():
            limit = min(limit, NEW_HOST_LIMIT_S)
        if self._lasted + seconds > limit:
            if answer:
                log.warning(
                    "%s: no item could be read for %.0f s, while other hosts answer: its items are "
                    "error rows until one can be read. Use --retry-errors later.",
                    ", ".join(sorted(host or "local files" for host in hosts)),
                    self._lasted,
                )
                self._give_up(hosts)
                return False
            raise OutageError(
                f"{max(self._count, len(lost))} items in a row cannot be read, "
                f"for {self._lasted:.0f} s: {error}",
                hint=f"Continue with --resume once they can be read. {LIMIT_VARIABLE}=0 writes "
                "an error row for each instead of waiting.",
            )
        message = "%d items in a row cannot be read: the run pauses, next try in %.0f s (%s)"
        log.warning(message, max(self._count, len(lost)), seconds, error)
        since = now()
        pause(self.stop, seconds)
        self._lasted += max(seconds, now() - since)
        return True

    def is_over(self, probe: Ready) -> bool:
        """Return whether an item that was lost could be read, or fails for another reason now."""
        return not self._is_lost(probe, _is_gone(self._folder))

    def remember(self, ready: Ready) -> None:
        """Note the host or folder of an item that was read."""
        if ready.error is not None:
            return
        if host := _host(ready):
            self._dead.discard(host)
            self._hosts.pop(host, None)
            self._hosts[host] = ready.item
            if len(self._hosts) > MAX_HOSTS:
                del self._hosts[next(iter(self._hosts))]
            return
        place = place_of(ready.item.media)
        folder = os.path.dirname(place) or os.curdir  # noqa: PTH120 - much faster than a Path
        if place and (self._folder is None or self._folder[0] != folder):
            try:
                self._folder = folder, os.stat(folder).st_dev  # noqa: PTH116 - faster too
            except OSError:
                # Gone since; the folder before stays.
                return
            self._dead.discard("")
            self._hosts[""] = ready.item

    def _remember_local(self, ready: Ready | None) -> None:
        if ready is not None:
            self.remember(ready)

    def _is_lost(self, ready: Ready, is_gone: bool) -> bool:
        error = ready.error
        if isinstance(error, MediaDeniedError):
            return error.host in self._hosts
        is_missing = isinstance(error, MediaNotFoundError) and not is_remote(ready.item.media)
        return isinstance(error, NetworkError) or (is_missing and is_gone)

    def _is_dead(self, ready: Ready) -> bool:
        return bool(self._dead) and ready.error is not None and _host(ready) in self._dead

    def _give_up(self, hosts: Iterable[str]) -> None:
        self._count, self._lasted = 0, 0.0
        for host in hosts:
            self._hosts.pop(host, None)
            if len(self._dead) < MAX_HOSTS:
                self._dead.add(host)


def _host(ready: Ready) -> str:
    """Return the host or bucket of an item, empty for a local file."""
    media = ready.item.media
    return "" if isinstance(media, str) else host_of(place_of(media))


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
