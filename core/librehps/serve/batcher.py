"""The queue: items of many requests, decoded in threads and scored in shared batches."""

import asyncio
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from librehps.engine.device import Launcher
from librehps.engine.engine import LocalEngine
from librehps.engine.outcome import error_row
from librehps.engine.window import Ready, Window
from librehps.errors import AbandonedError, ItemError, MediaError, QueueFullError
from librehps.types import Item, ScoredRow

# Beside one for each device, so that the next batch starts the moment one is done.
BATCHES_AHEAD = 1
# Threads apart from the decoders, since hosts may be slow.
FETCH_THREADS = 8
MAX_RETRY_S = 60
SHUTDOWN_MESSAGE = "the server is shutting down"


@dataclass(frozen=True)
class Pending:
    """An item that is not loaded yet; a thread calls `load`, which returns the item.

    Errors call the media `name`, the client's own word for it. `load` raises ItemError.
    `is_remote`: loading may wait for another host.
    """

    id: str
    name: str
    load: Callable[[], Item]
    is_remote: bool = False


class Watcher(Protocol):
    """The receiver of events: a batch is done, an item is done."""

    def batch(self, items: int, seconds: float) -> None: ...

    def item(self, row: ScoredRow) -> None: ...


@dataclass(eq=False)
class _Job:
    pending: Pending
    answer: asyncio.Future[ScoredRow]
    ready: Ready | None = None
    since: float = field(default_factory=time.monotonic)


@dataclass(frozen=True, eq=False)
class _Waiting:
    """A request without room in the queue; `turn` gets the answers of `submit`."""

    items: Sequence[Pending]
    turn: asyncio.Future[list[asyncio.Future[ScoredRow]]]


class Batcher:
    """A queue that scores the items of all requests; call its methods on one event loop only.

    A batch is launched when it fills a window of one device, or when its oldest item has waited
    `max_wait` seconds and a device is idle. The queue holds at most `max_queue` items; requests
    without room wait in the order of their arrival. An item whose answer was cancelled is dropped
    at the next step.
    """

    def __init__(
        self, engine: LocalEngine, max_queue: int, max_wait: float, watcher: Watcher
    ) -> None:
        self._engine, self._watcher = engine, watcher
        self.max_queue, self._max_wait = max_queue, max_wait
        self._loop = asyncio.get_running_loop()
        self._stop = threading.Event()
        self._launcher = Launcher(engine.model, engine.batch_size, self._stop)
        self._devices = self._launcher.devices
        self.size = engine.window_size(self._launcher.lanes // self._devices)
        self._decoders = ThreadPoolExecutor(engine.workers, "decode")
        self._fetchers = ThreadPoolExecutor(FETCH_THREADS, "fetch")
        self._runners = ThreadPoolExecutor(self._devices + BATCHES_AHEAD, "window")
        self._ready: deque[_Job] = deque()
        self._jobs: set[_Job] = set()
        self._waiting: deque[_Waiting] = deque()
        self._flying = 0
        self._rate = 0.0
        self._landed_at = time.monotonic()
        self._timer: asyncio.TimerHandle | None = None
        self._abandoned = False

    @property
    def depth(self) -> int:
        """The number of items in the queue, cancelled items included."""
        return len(self._jobs)

    async def accept(self, items: Sequence[Pending]) -> list[asyncio.Future[ScoredRow]]:
        """Return what `submit` returns, after waiting for room; cancel to give up the place.

        Raises QueueFullError if the waiting requests would have more than `max_queue` items.
        """
        self._drop_leavers()
        if not self._waiting and self.depth + len(items) <= self.max_queue:
            return self.submit(items)
        waiting = sum(len(request.items) for request in self._waiting)
        if waiting + len(items) > self.max_queue:
            reason = f"{self.depth} items, and {waiting} wait for room, cannot add {len(items)}"
            raise QueueFullError(f"queue full: {reason}", self._retry_after())
        turn: asyncio.Future[list[asyncio.Future[ScoredRow]]] = self._loop.create_future()
        self._waiting.append(_Waiting(items, turn))
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                # The request left after its items were added.
                for answer in turn.result():
                    answer.cancel()
            raise

    def submit(self, items: Sequence[Pending]) -> list[asyncio.Future[ScoredRow]]:
        """Return a future row for each item; cancel a future to drop its item.

        Raises QueueFullError, and AbandonedError after `abandon`.
        """
        if self._abandoned:
            raise AbandonedError(SHUTDOWN_MESSAGE)
        if self.depth + len(items) > self.max_queue:
            raise QueueFullError(
                f"queue full: {self.depth} of {self.max_queue} items, cannot add {len(items)}",
                self._retry_after(),
            )
        return [self._admit(pending) for pending in items]

    def abandon(self) -> None:
        """Answer all items in the queue, and all later items, with AbandonedError."""
        self._abandoned = True
        futures: list[asyncio.Future[Any]] = [job.answer for job in self._jobs]
        futures += [request.turn for request in self._waiting]
        for future in futures:
            if not future.done():
                future.set_exception(AbandonedError(SHUTDOWN_MESSAGE))
        self._waiting.clear()

    def close(self) -> None:
        """Wait for running batches and drop the items that have not started."""
        self._stop.set()
        for pool in (self._fetchers, self._decoders):
            pool.shutdown(cancel_futures=True)
        self._launcher.close()
        self._runners.shutdown(cancel_futures=True)

    def _admit(self, pending: Pending) -> asyncio.Future[ScoredRow]:
        job = _Job(pending, self._loop.create_future())
        self._jobs.add(job)
        pool = self._fetchers if pending.is_remote else self._decoders
        self._follow(pool.submit(self._prepare, job), lambda done: self._prepared(job, done))
        return job.answer

    def _release(self, job: _Job) -> None:
        """Remove an item from the queue."""
        self._jobs.discard(job)
        self._admit_waiting()

    def _admit_waiting(self) -> None:
        """Add the items of the waiting requests that now fit, in the order of arrival."""
        self._drop_leavers()
        while self._waiting and self.depth + len(self._waiting[0].items) <= self.max_queue:
            request = self._waiting.popleft()
            request.turn.set_result(self.submit(request.items))
            self._drop_leavers()

    def _drop_leavers(self) -> None:
        while self._waiting and self._waiting[0].turn.done():
            self._waiting.popleft()

    def _follow(self, future: "Future[Any]", then: Callable[["Future[Any]"], None]) -> None:
        """Call `then` on the event loop once the future of a thread is done."""

        def hand_over(done: "Future[Any]") -> None:
            # At shutdown a dropped item has no waiting client, and the loop may be closed.
            if not done.cancelled() and not self._loop.is_closed():
                self._loop.call_soon_threadsafe(then, done)

        future.add_done_callback(hand_over)

    def _prepare(self, job: _Job) -> Ready | None:
        """Return the loaded and decoded item, None if the job was cancelled; runs in a thread."""
        if job.answer.cancelled():
            return None
        name = job.pending.name
        try:
            item = job.pending.load()
        except ItemError as error:
            return Ready(Item(job.pending.id, None, None), None, error)
        except (ValueError, OSError, MemoryError) as error:
            problem = MediaError(f"cannot read {name}: {type(error).__name__}")
            return Ready(Item(job.pending.id, None, None), None, problem)
        ready = self._engine.prepare(item)
        # Drop the encoded bytes, to save memory while items wait.
        return replace(ready, item=replace(ready.item, media=None))

    def _prepared(self, job: _Job, done: "Future[Ready | None]") -> None:
        failure = done.exception()
        ready = None if failure is not None else done.result()
        if failure is not None:
            self._fail(job, failure)
        elif ready is None or job.answer.done():
            self._release(job)
        elif ready.error is not None:
            self._answer(job, error_row(ready.item, ready.error))
        else:
            job.ready, job.since = ready, time.monotonic()
            self._ready.append(job)
            self._pump()

    def _pump(self) -> None:
        """Launch the batches that are due, or set a timer for the next batch."""
        while self._flying < self._devices + BATCHES_AHEAD:
            self._drop_unwanted()
            if not self._ready:
                return
            if len(self._ready) < self.size:
                if self._flying >= self._devices:
                    # All devices are busy, so waiting costs nothing and the batch may fill up.
                    return
                left = self._ready[0].since + self._max_wait - time.monotonic()
                if left > 0:
                    self._wake_in(left)
                    return
            count = min(self.size, len(self._ready))
            self._launch([self._ready.popleft() for _ in range(count)])

    def _drop_unwanted(self) -> None:
        wanted = [job for job in self._ready if not job.answer.done()]
        if len(wanted) < len(self._ready):
            self._jobs.difference_update(set(self._ready).difference(wanted))
            self._ready = deque(wanted)
            self._admit_waiting()

    def _wake_in(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(seconds, self._pump)

    def _launch(self, jobs: list[_Job]) -> None:
        self._flying += 1
        ready = [job.ready for job in jobs if job.ready is not None]
        started = time.monotonic()
        run = self._runners.submit(self._run, ready)
        self._follow(run, lambda done: self._landed(jobs, started, done))

    def _run(self, ready: list[Ready]) -> list[ScoredRow]:
        """Return the scored rows of a window; runs in a thread."""
        return Window(ready, self._launcher, None, self._engine.tokens, None).rows()[:]

    def _landed(self, jobs: list[_Job], started: float, done: "Future[list[ScoredRow]]") -> None:
        self._flying -= 1
        failure = done.exception()
        # A stopped window returns fewer rows.
        rows = [] if failure is not None else done.result()
        for job, row in zip(jobs, rows, strict=False):
            self._answer(job, row)
        for job in jobs[len(rows) :]:
            self._fail(job, failure or AbandonedError(SHUTDOWN_MESSAGE))
        self._watcher.batch(len(jobs), time.monotonic() - started)
        self._measure(len(rows), started)
        self._pump()

    def _answer(self, job: _Job, row: ScoredRow) -> None:
        self._release(job)
        self._watcher.item(row)
        if not job.answer.done():
            job.answer.set_result(row)

    def _fail(self, job: _Job, failure: BaseException) -> None:
        self._release(job)
        if not job.answer.done():
            job.answer.set_exception(failure)

    def _measure(self, rows: int, started: float) -> None:
        """Update the running mean of items/s over the last few batches, idle time excluded."""
        now = time.monotonic()
        rate = rows / max(now - max(self._landed_at, started), 1e-3)
        self._rate = rate if not self._rate else 0.7 * self._rate + 0.3 * rate
        self._landed_at = now

    def _retry_after(self) -> int:
        """Return the seconds until about half of the queue is done."""
        seconds = self.depth / 2 / self._rate if self._rate else 1
        return max(1, min(MAX_RETRY_S, math.ceil(seconds)))
