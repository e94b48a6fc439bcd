"""The local engine: decoding, forward and writing overlap, window by window."""

import os
import threading
import time
from collections.abc import Generator, Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from itertools import chain

from librehps.engine.decode import Decoder
from librehps.engine.device import Launcher
from librehps.engine.in_flight import InFlight, WouldWait, never_waits
from librehps.engine.outcome import with_axis_objects
from librehps.engine.plan import ITEM_TOKENS
from librehps.engine.ready import Ready, ReadyItems
from librehps.engine.score_cache import KnownScores
from librehps.engine.stage import FindPrompt as FindPrompt
from librehps.engine.stage import Stages, as_given
from librehps.engine.stage import make_ready as make_ready
from librehps.engine.window import Window
from librehps.engine.window_size import WindowSize
from librehps.models.base import Model
from librehps.scores.scored_rows import ScoredRows
from librehps.types import Item, ScoredRow

# Batches of usual images per lane in a window: enough to sort items by length, few enough for
# early rows.
BATCHES_PER_LANE = 2
# Larger windows on many cores would only delay rows, unless they are quick.
MAX_WINDOW_ITEMS = 256


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
    find_prompt: FindPrompt = as_given
    index: KnownScores | None = None
    work: Work = field(default_factory=Work)
    stop: threading.Event = field(default_factory=threading.Event)
    would_wait: WouldWait = never_waits

    def run(self, items: Iterable[Item]) -> Iterator[ScoredRow]:
        """Yield a row for each item, in the order of the items."""
        with closing(self.windows(items)) as windows:
            yield from map(with_axis_objects, chain.from_iterable(windows))

    def windows(self, items: Iterable[Item]) -> Generator[ScoredRows, None, None]:
        """Yield the rows of each window, in the order of the items.

        No rows are yielded before a wait of more than `LONG_WAIT_S`.
        """
        launcher = Launcher(self.model, self.batch_size, self.stop)
        stages = Stages(self.find_prompt, self.decoder, self.workers, self.stop)
        with ExitStack() as at_end:
            if self.decoder.cache is not None:
                at_end.callback(self.decoder.cache.close)
            at_end.callback(stages.close)
            at_end.callback(launcher.close)
            yield from self._in_flight(stages, launcher).rows(iter(items))

    def _in_flight(self, stages: Stages, launcher: Launcher) -> InFlight:
        size = WindowSize(self.window_size(launcher.lanes))

        def launch(ready: ReadyItems, before: Window | None) -> Window:
            cache = self.decoder.cache
            return Window(ready, launcher, self.index, self.tokens, before, cache, size.usual)

        def finished(window: Window, rows: int) -> None:
            self.work.add(rows, window.forwards, launcher.meter.take_seconds())

        return InFlight(stages, launcher, size, launch, finished, self.stop, self.would_wait)

    def window_size(self, lanes: int) -> int:
        """Return the number of items per window, while windows are not quick."""
        tokens = self.batch_size * ITEM_TOKENS if self.tokens is None else self.tokens
        batches = lanes * tokens // ITEM_TOKENS
        # On many GPUs a window still holds a batch for each lane.
        usual = min(BATCHES_PER_LANE * batches, max(MAX_WINDOW_ITEMS, batches))
        return max(self.batch_size, usual)

    def prepare(self, item: Item) -> Ready:
        """Return the item with its prompt and pixels, or its error; runs in a worker thread."""
        return make_ready(item, self.find_prompt, self.decoder)


def default_workers() -> int:
    """Return the number of decode threads: one per core that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
