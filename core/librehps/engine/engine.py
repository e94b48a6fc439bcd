"""The local engine: decoding, forward and writing overlap, window by window."""

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Any

from librehps.engine.decode import Decoder
from librehps.engine.device import Launcher
from librehps.engine.outcome import scored_rows, with_axis_objects
from librehps.engine.plan import ITEM_TOKENS
from librehps.engine.score_cache import KnownScores
from librehps.engine.stage import FindPrompt as FindPrompt
from librehps.engine.stage import Pending, Stages
from librehps.engine.stage import make_ready as make_ready
from librehps.engine.window import Ready, Window
from librehps.media.media import Media
from librehps.models.base import Model
from librehps.scores.scored_rows import ScoredRows
from librehps.types import Item, ScoredRow

# Batches of usual images per lane in a window: enough to sort items by length, few enough for
# early rows.
BATCHES_PER_LANE = 2
# Larger windows on many cores would only delay rows.
MAX_WINDOW_ITEMS = 256
# Items that are taken from a source at once, before the next look at `stop`.
TAKEN_ITEMS = 16
# A run without rows in flight waits for input in steps of this length, to notice `stop`.
INPUT_POLL_S = 0.2
# A caller may hold rows for a moment, to store more at once; before a longer wait it is told.
LONG_WAIT_S = 0.1

# Takes seconds; returns whether the source still has no next item after this time.
WouldWait = Callable[[float], bool]


@dataclass
class Work:
    """Progress of a run: rows and forwards so far; `forward` is the device's busy seconds."""

    rows: int = 0
    forwards: int = 0
    forward: float = 0.0
    started: float = field(default_factory=time.perf_counter)

    def add(self, rows: int, forwards: int, seconds: float) -> None:
        self.rows += rows
        self.forwards += forwards
        self.forward += seconds

    @property
    def seconds(self) -> float:
        """Seconds of wall time since the run started."""
        return time.perf_counter() - self.started

    @property
    def busy(self) -> float:
        """Share of the wall time that the device was busy, in [0, 1]."""
        return min(1.0, self.forward / max(self.seconds, 1e-9))


def _unchanged(item: Item, content: Media) -> Item:
    return item


def _never(seconds: float) -> bool:
    return False


@dataclass
class LocalEngine:
    """An engine that scores items in order; an item that cannot be scored gives an error row.

    `find_prompt` returns an item with its prompt; `index` is the score cache; a batch holds at most
    `batch_size` items and `tokens` (None: 256 per item). At most two windows are on the device
    while the next is decoded, so that memory use does not depend on the number of items. While
    `would_wait` says that the source has no next item yet, smaller windows are scored. After `stop`
    is set, no further batch starts.
    """

    model: Model
    decoder: Decoder
    batch_size: int
    workers: int
    tokens: int | None = None
    find_prompt: FindPrompt = _unchanged
    index: KnownScores | None = None
    work: Work = field(default_factory=Work)
    stop: threading.Event = field(default_factory=threading.Event)
    would_wait: WouldWait = _never

    def run(self, items: Iterable[Item]) -> Iterator[ScoredRow]:
        """Yield a row for each item, in the order of the items."""
        with closing(self.windows(items)) as windows:
            yield from map(with_axis_objects, chain.from_iterable(windows))

    def windows(self, items: Iterable[Item]) -> Generator[ScoredRows, None, None]:
        """Yield the rows of each window, in the order of the items.

        No rows are yielded before a wait of more than `LONG_WAIT_S`.
        """
        launcher = Launcher(self.model, self.batch_size, self.stop)
        source, size = iter(items), self.window_size(launcher.lanes)
        waiting: deque[Pending] = deque()
        running: deque[Window] = deque()
        stages = Stages(self.find_prompt, self.decoder, self.workers, self.stop)
        with ExitStack() as at_end:
            if self.decoder.cache is not None:
                at_end.callback(self.decoder.cache.close)
            at_end.callback(stages.close)
            at_end.callback(launcher.close)
            while not self.stop.is_set():
                in_flight = bool(waiting or running)
                items_ahead = self._take(source, size, in_flight)
                if items_ahead:
                    waiting.append(stages.submit(items_ahead))
                if waiting and (len(waiting) > stages.sets_ahead(size) or not items_ahead):
                    yield from self._before_wait(waiting[0].futures)
                    taken, ready, lost = stages.take(waiting)
                    if lost:
                        # Rows that are due are written before the run pauses.
                        running.append(self._window(ready[: lost[0]], launcher, running))
                        while running:
                            if not (yield from self._finish(running.popleft(), launcher)):
                                return
                        yield self._no_rows()
                        ready = stages.recover(taken, ready, lost, waiting)
                    running.append(self._window(ready, launcher, running))
                is_due = len(running) > 1 or not (items_ahead or waiting)
                if running and is_due:
                    whole = yield from self._finish(running.popleft(), launcher)
                    if not whole:
                        return
                if not (items_ahead or in_flight):
                    return
            # A stop may leave gaps: rows after the first gap are scored again with --resume.
            for window in running:
                whole = yield from self._finish(window, launcher)
                if not whole:
                    return

    def _take(self, source: Iterator[Item], size: int, in_flight: bool) -> list[Item]:
        """Return the next items, at most `size`; empty at the end of the source.

        Fewer while the source has no next item: none if rows are `in_flight`, which then leave
        first, else at least one.
        """
        taken: list[Item] = []
        # A source that may let the run wait is asked before each item.
        step = TAKEN_ITEMS if self.would_wait is _never else 1
        while len(taken) < size and not self.stop.is_set():
            if self.would_wait(0 if taken or in_flight else INPUT_POLL_S):
                if taken or in_flight:
                    break
            elif some := list(islice(source, min(step, size - len(taken)))):
                taken += some
            else:
                break
        return taken

    def _window(
        self, ready: Sequence[Ready], launcher: Launcher, running: Sequence[Window]
    ) -> Window:
        before = running[-1] if running else None
        return Window(ready, launcher, self.index, self.tokens, before, self.decoder.cache)

    def window_size(self, lanes: int) -> int:
        """Return the number of items per window."""
        tokens = self.batch_size * ITEM_TOKENS if self.tokens is None else self.tokens
        batches = lanes * tokens // ITEM_TOKENS
        # On many GPUs a window still holds a batch for each lane.
        usual = min(BATCHES_PER_LANE * batches, max(MAX_WINDOW_ITEMS, batches))
        return max(self.batch_size, usual)

    def _finish(self, window: Window, launcher: Launcher) -> Generator[ScoredRows, None, bool]:
        """Yield the window's rows; return false if a stop left some out."""
        yield from self._before_wait(window.futures)
        rows = window.rows()
        self.work.add(len(rows), window.forwards, launcher.meter.take_seconds())
        if rows:
            yield rows
        return len(rows) == len(window)

    def _before_wait(self, futures: Sequence[Future[Any]]) -> Iterator[ScoredRows]:
        """Yield no rows if the futures take long."""
        if not all(map(Future.done, futures)) and wait(futures, LONG_WAIT_S).not_done:
            yield self._no_rows()

    def _no_rows(self) -> ScoredRows:
        return scored_rows([], [], [], [], self.model.axes)

    def prepare(self, item: Item) -> Ready:
        """Return the item with its prompt and pixels, or its error; runs in a worker thread."""
        return make_ready(item, self.find_prompt, self.decoder)


def default_workers() -> int:
    """Return the number of decode threads: one per core that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
