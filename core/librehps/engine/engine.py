"""The stages on one machine: decoding, forward and writing overlap, window by window."""

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice

from librehps.engine.decode import Decoder
from librehps.engine.device import Launcher
from librehps.engine.plan import ITEM_TOKENS
from librehps.engine.score_cache import ScoreCache
from librehps.engine.window import Ready, Window
from librehps.errors import ItemError, MediaError
from librehps.media.media import Media
from librehps.models.base import Model
from librehps.types import Item, ScoredRow

# Batches of common stills that a window has for each lane: neighbours of like length are among
# them, and it is answered soon.
DEPTH = 2
# Items of a window: on many cores each of its batches has several.
MOST = 256

FindPrompt = Callable[[Item, Media], Item]


@dataclass
class Work:
    """What a run has done so far; times in seconds, `forward` that the device was busy."""

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
        """Wall time since the run began."""
        return time.perf_counter() - self.started

    @property
    def busy(self) -> float:
        """Share of the wall time that the device was busy, in [0, 1]."""
        return min(1.0, self.forward / max(self.seconds, 1e-9))


def _as_it_is(item: Item, content: Media) -> Item:
    return item


@dataclass
class LocalEngine:
    """Scores items in order; one that cannot be scored costs its own row only.

    `find_prompt` gives an item its prompt; `index` knows what was scored before; a batch holds
    at most `batch_size` items and `tokens` (None: 256 an item). Two windows are on the device
    while the next is decoded, and no more, however many items there are. Once `stop` is set, the
    batches on the device are the last.
    """

    model: Model
    decoder: Decoder
    batch_size: int
    workers: int
    tokens: int | None = None
    find_prompt: FindPrompt = _as_it_is
    index: ScoreCache | None = None
    work: Work = field(default_factory=Work)
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self, items: Iterable[Item]) -> Iterator[ScoredRow]:
        """A row for each item, in the order of the items."""
        launcher = Launcher(self.model, self.batch_size, self.stop)
        source, size = iter(items), self.window_size(launcher.lanes)
        waiting: deque[list[Future[Ready]]] = deque()
        running: deque[Window] = deque()
        pool = ThreadPoolExecutor(self.workers, thread_name_prefix="decode")
        try:
            while not self.stop.is_set():
                items_ahead = list(islice(source, size))
                if items_ahead:
                    waiting.append([pool.submit(self.prepare, item) for item in items_ahead])
                if waiting and (len(waiting) > 1 or not items_ahead):
                    ready = [future.result() for future in waiting.popleft()]
                    before = running[-1] if running else None
                    running.append(Window(ready, launcher, self.index, self.tokens, before))
                is_due = len(running) > 1 or not (items_ahead or waiting)
                if running and is_due:
                    whole = yield from self._finish(running.popleft(), launcher)
                    if not whole:
                        return
                if not (items_ahead or waiting or running):
                    return
            # Rows behind the first that is missing come again with --resume.
            for window in running:
                whole = yield from self._finish(window, launcher)
                if not whole:
                    return
        finally:
            try:
                launcher.close()
            finally:
                pool.shutdown(cancel_futures=True)

    def window_size(self, lanes: int) -> int:
        """Items that are decoded, planned and answered together."""
        tokens = self.batch_size * ITEM_TOKENS if self.tokens is None else self.tokens
        return max(self.batch_size, min(MOST, DEPTH * lanes * tokens // ITEM_TOKENS))

    def _finish(self, window: Window, launcher: Launcher) -> Generator[ScoredRow, None, bool]:
        """The window's rows; gives whether all are there, which a stop prevents."""
        rows = window.rows()
        self.work.add(len(rows), window.forwards, launcher.meter.take_seconds())
        yield from rows
        return len(rows) == len(window)

    def prepare(self, item: Item) -> Ready:
        """In a worker: prompt, bytes, pixels, or the reason why not."""
        return make_ready(item, self.find_prompt, self.decoder)


def make_ready(item: Item, find_prompt: FindPrompt, decoder: Decoder) -> Ready:
    """An item decoded under its prompt, or the reason why not."""
    content = Media(item.media)
    try:
        if item.problem is not None:
            raise item.problem
        item = find_prompt(item, content)
        return Ready(item, decoder.decode(item, content))
    except ItemError as error:
        return Ready(item, None, error)
    except (ValueError, OSError, MemoryError, RecursionError) as error:
        # Of a name that is no path, or a picture that no reader foresaw.
        reason = f"{type(error).__name__}: {error}"
        return Ready(item, None, MediaError(f"{content.name} cannot be read: {reason}"))


def default_workers() -> int:
    """Decode threads: one for each core that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
