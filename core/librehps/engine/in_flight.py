"""The windows of a run that are in flight: being read and decoded, or on the device."""

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from librehps.engine.device import Launcher
from librehps.engine.outcome import no_rows
from librehps.engine.ready import ReadyItems
from librehps.engine.stage import Pending, Stages
from librehps.engine.window import Window
from librehps.engine.window_size import WindowSize
from librehps.scores.scored_rows import ScoredRows
from librehps.types import Item

# Items that are taken from a source at once, before the next look at `stop`.
TAKEN_ITEMS = 16
# A run without rows in flight waits for input in steps of this length, to notice `stop`.
INPUT_POLL_S = 0.2
# A caller may hold rows for a moment, to store more at once; before a longer wait it is told.
LONG_WAIT_S = 0.1

# Takes seconds; returns whether the source still has no next item after this time.
WouldWait = Callable[[float], bool]


def never_waits(seconds: float) -> bool:
    """Return false: the source has its next item at once, or ends."""
    return False


@dataclass
class InFlight:
    """The windows of a run, from its stages to its launcher, of which two at most are launched.

    `launch` starts a window, after the one before; `finished` takes a window that has its rows.
    After `stop` is set, no further batch starts.
    """

    stages: Stages
    launcher: Launcher
    size: WindowSize
    launch: Callable[[ReadyItems, Window | None], Window]
    finished: Callable[[Window, int], None]
    stop: threading.Event
    would_wait: WouldWait
    _waiting: deque[Pending] = field(default_factory=deque)
    _running: deque[Window] = field(default_factory=deque)
    # The window that was launched last, whose scores the next one may share.
    _latest: Window | None = None

    def rows(self, source: Iterator[Item]) -> Generator[ScoredRows, None, None]:
        """Yield the rows of each window, in the order of the items; see `LocalEngine.windows`."""
        waiting, running = self._waiting, self._running
        while not self.stop.is_set():
            in_flight = bool(waiting or running)
            # Items that a large set left are a set of their own, and go first.
            items_ahead = [] if self._is_ahead() else self._take(source, in_flight)
            if items_ahead:
                waiting.append(self.stages.submit(items_ahead, self.size.usual))
            is_begun = self._is_ahead() or not items_ahead
            if waiting and is_begun and not (yield from self._begin()):
                return
            is_due = len(running) > 1 or not (items_ahead or waiting)
            if running and is_due and not (yield from self._finish()):
                return
            if not (items_ahead or in_flight):
                return
        # A stop may leave gaps: rows after the first gap are scored again with --resume.
        while running and (yield from self._finish()):
            pass

    def _is_ahead(self) -> bool:
        """Return whether enough sets wait for their decode."""
        return len(self._waiting) > self.stages.sets_ahead(self.size.usual)

    def _take(self, source: Iterator[Item], in_flight: bool) -> list[Item]:
        """Return the items of the next window; empty at the end of the source.

        Fewer while the source has no next item: none if rows are `in_flight`, which then leave
        first, else at least one.
        """
        taken: list[Item] = []
        size, step = self.size.items, TAKEN_ITEMS
        if self.would_wait is not never_waits:
            # Asked before each item.
            size, step = self.size.usual, 1
        while len(taken) < size and not self.stop.is_set():
            if self.would_wait(0 if taken or in_flight else INPUT_POLL_S):
                if taken or in_flight:
                    break
            elif some := list(islice(source, min(step, size - len(taken)))):
                taken += some
            else:
                break
        return taken

    def _begin(self) -> Generator[ScoredRows, None, bool]:
        """Launch the first decoded items; return false if a stop left some rows out."""
        if not (yield from self._until_decoded(self._waiting[0].futures)):
            return False
        taken, ready, lost = self.stages.take(self._waiting, self.size.usual)
        if lost:
            # Rows that are due are written before the run pauses.
            self._start(ready[: lost[0]])
            while self._running:
                if not (yield from self._finish()):
                    return False
            yield self._no_rows()
            ready = self.stages.recover(taken, ready, lost, self._waiting)
        self._start(ready)
        return True

    def _until_decoded(self, futures: Sequence[Future[Any]]) -> Generator[ScoredRows, None, bool]:
        """Yield rows that are there while items take long; return false if a stop left some out."""
        while not self.stop.is_set() and _take_long(futures):
            while self._running and all(map(Future.done, self._running[0].futures)):
                if not (yield from self._finish()):
                    return False
            yield self._no_rows()
        return True

    def _start(self, ready: ReadyItems) -> None:
        self._latest = self.launch(ready, self._latest)
        self._running.append(self._latest)

    def _finish(self) -> Generator[ScoredRows, None, bool]:
        """Yield the rows of the first window; return false if a stop left some out."""
        window = self._running.popleft()
        if _take_long(window.futures):
            yield self._no_rows()
        rows = window.rows()
        self.size.note(len(rows))
        self.finished(window, len(rows))
        if rows:
            yield rows
        return len(rows) == len(window)

    def _no_rows(self) -> ScoredRows:
        return no_rows(self.launcher.axes)


def _take_long(futures: Sequence[Future[Any]]) -> bool:
    """Wait for a moment at most; return whether a future is not done."""
    return not all(map(Future.done, futures)) and bool(wait(futures, LONG_WAIT_S).not_done)
