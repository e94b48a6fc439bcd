"""The queue: items of many requests, scored in shared batches."""

import asyncio
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

from librehps.engine.device import Launcher
from librehps.engine.engine import LocalEngine
from librehps.engine.outcome import error_row
from librehps.engine.ready import Ready, ReadyItems
from librehps.engine.window import Window
from librehps.errors import AbandonedError, DeviceError, QueueFullError, WorkerDiedError
from librehps.serve.decoding import DecodeMemory, Decoding, Pending, Task
from librehps.serve.device_watch import DeviceWatch
from librehps.types import ScoredRow

# Beside one for each device, so that the next batch starts the moment one is done.
BATCHES_AHEAD = 1
# Batches of decoded items that may wait for a device, whichever of them is busy.
BATCHES_READY = 2
MAX_RETRY_S = 60
SHUTDOWN_MESSAGE = "the server is shutting down"


class Watcher(Protocol):
    """The receiver of events: an item is decoded, launched or done; a batch is done."""

    def decoded(self, seconds: float, waited: float) -> None: ...

    def waited(self, seconds: float) -> None: ...

    def batch(self, items: int, seconds: float) -> None: ...

    def item(self, row: ScoredRow) -> None: ...

    def failed(self, items: int, error: BaseException) -> None: ...


@dataclass(eq=False)
class _Job:
    task: Task
    answer: asyncio.Future[ScoredRow]
    ready: Ready | None = None
    accepted: float = field(default_factory=time.monotonic)
    # When the item was decoded.
    since: float = 0.0


@dataclass(frozen=True, eq=False)
class _Waiting:
    """A request without room in the queue; `turn` gets the answers of `submit`."""

    items: Sequence[Pending]
    turn: asyncio.Future[list[asyncio.Future[ScoredRow]]]


class Batcher:
    """A queue that scores the items of all requests; call its methods on one event loop only.

    A batch is launched when it fills a window of one device, or when its oldest item has waited
    `max_wait` seconds and a device, or a core of a CPU, is idle. The queue holds at most
    `max_queue` items; requests without room wait in the order of their arrival. An item whose
    answer is cancelled gives its place back at once.
    """

    def __init__(
        self,
        engine: LocalEngine,
        max_queue: int,
        max_wait: float,
        memory: DecodeMemory,
        watcher: Watcher,
        device: DeviceWatch,
    ) -> None:
        self._engine, self._watcher, self._device = engine, watcher, device
        self.max_queue, self._max_wait = max_queue, max_wait
        self._loop = asyncio.get_running_loop()
        self._stop = threading.Event()
        self._launcher = Launcher(engine.model, engine.batch_size, self._stop)
        devices, self._places = self._launcher.devices, self._launcher.places
        self.size = engine.window_size(self._launcher.lanes // devices)
        self._max_launched = self.size * (devices + BATCHES_AHEAD)
        max_ready = self.size * (devices + BATCHES_READY)
        self._decoding = Decoding(engine, memory, max_ready)
        self._runners = ThreadPoolExecutor(self._places + devices + BATCHES_AHEAD, "window")
        self._ready: deque[_Job] = deque()
        self._jobs: set[_Job] = set()
        self._waiting: deque[_Waiting] = deque()
        # The batches on the devices, and the items of these batches.
        self._flying = self._launched = 0
        self._rate = 0.0
        self._landed_at = time.monotonic()
        self._timer: asyncio.TimerHandle | None = None
        self._abandoned: Exception | None = None

    @property
    def depth(self) -> int:
        """The number of items in the queue, cancelled items included."""
        return len(self._jobs)

    async def accept(self, items: Sequence[Pending]) -> list[asyncio.Future[ScoredRow]]:
        """Return what `submit` returns, after waiting for room; cancel to give up the place.

        Raises QueueFullError if the waiting requests would have more than `max_queue` items, and
        AbandonedError after `abandon`.
        """
        if self._abandoned is not None:
            raise self._abandoned
        self._drop_leavers()
        if not self._waiting and self.depth + len(items) <= self.max_queue:
            return self.submit(items)
        waiting = sum(len(request.items) for request in self._waiting)
        if waiting + len(items) > self.max_queue:
            reason = f"{self.depth} items, and {waiting} wait for room, cannot add {len(items)}"
            raise QueueFullError(f"queue full: {reason}", self.retry_after())
        turn: asyncio.Future[list[asyncio.Future[ScoredRow]]] = self._loop.create_future()
        request = _Waiting(items, turn)
        self._waiting.append(request)
        try:
            return await turn
        except asyncio.CancelledError:
            self._leave(request)
            raise

    def _leave(self, request: _Waiting) -> None:
        """Drop a waiting request, or its items if they were added at the same moment."""
        turn = request.turn
        if request in self._waiting:
            # At once, wherever it waits: its items hold memory, and count as waiting.
            self._waiting.remove(request)
            self._admit_waiting()
        elif not turn.cancelled() and turn.exception() is None:
            for answer in turn.result():
                answer.cancel()

    def submit(self, items: Sequence[Pending]) -> list[asyncio.Future[ScoredRow]]:
        """Return a future row for each item; cancel a future to drop its item.

        Raises QueueFullError, and AbandonedError after `abandon`.
        """
        if self._abandoned is not None:
            raise self._abandoned
        if self.depth + len(items) > self.max_queue:
            raise QueueFullError(
                f"queue full: {self.depth} of {self.max_queue} items, cannot add {len(items)}",
                self.retry_after(),
            )
        # Requests take turns.
        group = object()
        return [self._admit(pending, group) for pending in items]

    @property
    def is_running(self) -> bool:
        """True while a batch is on a device."""
        return self._flying > 0

    def abandon(self, error: Exception | None = None) -> None:
        """Answer all items in the queue, and all later items, with `error` or AbandonedError."""
        self._abandoned = error = error or AbandonedError(SHUTDOWN_MESSAGE)
        futures: list[asyncio.Future[Any]] = [job.answer for job in self._jobs]
        futures += [request.turn for request in self._waiting]
        for future in futures:
            if not future.done():
                future.set_exception(error)
        self._waiting.clear()

    def close(self) -> None:
        """Wait for running batches and drop the items that have not started."""
        self._stop.set()
        self._decoding.close()
        self._launcher.close()
        self._runners.shutdown(cancel_futures=True)

    def _admit(self, pending: Pending, group: object) -> asyncio.Future[ScoredRow]:
        job = _Job(self._decoding.submit(pending, group), self._loop.create_future())
        self._jobs.add(job)
        job.answer.add_done_callback(partial(self._answered, job))
        self._follow(job.task.done, lambda done: self._prepared(job, done))
        return job.answer

    def _answered(self, job: _Job, answer: asyncio.Future[ScoredRow]) -> None:
        if answer.cancelled():
            self._give_up(job)

    def _give_up(self, job: _Job) -> None:
        """Give back what an item holds whose request was cancelled."""
        self._decoding.cancel(job.task)
        if job in self._ready:
            self._ready.remove(job)
            self._take(job)
        self._release(job)

    def _take(self, job: _Job) -> Ready:
        """Return a decoded item that no longer waits for a device."""
        assert job.ready is not None  # noqa: S101 - it was waiting
        self._decoding.taken(job.ready)
        return job.ready

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

        kept = [then]

        def hand_over(done: "Future[Any]") -> None:
            # A future keeps its callbacks: a circle would hold the item's bytes until the garbage
            # collector runs.
            then = kept.pop()
            # At shutdown a dropped item has no waiting client, and the loop may be closed.
            if not done.cancelled() and not self._loop.is_closed():
                self._loop.call_soon_threadsafe(then, done)

        future.add_done_callback(hand_over)

    def _prepared(self, job: _Job, done: "Future[Ready]") -> None:
        failure = done.exception()
        if failure is not None:
            self._fail(job, failure)
            return
        ready = done.result()
        self._watcher.decoded(job.task.seconds, job.task.waited)
        if ready.error is not None:
            self._answer(job, error_row(ready.item, ready.error))
            return
        job.ready, job.since = ready, time.monotonic()
        if job.answer.done():
            self._take(job)
            self._release(job)
        else:
            self._ready.append(job)
            self._pump()

    def _pump(self) -> None:
        """Launch the batches that are due, or set a timer for the next batch."""
        while True:
            self._drop_unwanted()
            count = min(self.size, len(self._ready))
            if not count or self._launched + count > self._max_launched:
                return
            if count < self.size:
                if self._flying >= self._places:
                    # All are busy, so waiting costs nothing and the batch may fill up.
                    return
                left = self._ready[0].since + self._max_wait - time.monotonic()
                if left > 0:
                    self._wake_in(left)
                    return
            self._launch([self._ready.popleft() for _ in range(count)])

    def _drop_unwanted(self) -> None:
        """Drop the items that `abandon` has answered."""
        unwanted = [job for job in self._ready if job.answer.done()]
        for job in unwanted:
            self._give_up(job)

    def _wake_in(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(seconds, self._pump)

    def _launch(self, jobs: list[_Job]) -> None:
        self._flying += 1
        self._launched += len(jobs)
        ready = [self._take(job) for job in jobs]
        started = time.monotonic()
        for job in jobs:
            self._watcher.waited(started - job.accepted - job.task.seconds)
        run = self._runners.submit(self._run, ready)
        self._follow(run, lambda done: self._landed(jobs, started, done))

    def _run(self, ready: list[Ready]) -> list[ScoredRow]:
        """Return the scored rows of a window; runs in a thread."""
        cost = sum(one.decoded.prepared.cost for one in ready if one.decoded is not None)
        with self._device.batch(cost):
            rows = Window(
                ReadyItems.of(ready), self._launcher, None, self._engine.tokens, None
            ).rows()[:]
            if rows and all(isinstance(row.error, WorkerDiedError) for row in rows):
                raise DeviceError(f"the devices failed: {rows[0].error}", "failed")
        return rows

    def _landed(self, jobs: list[_Job], started: float, done: "Future[list[ScoredRow]]") -> None:
        self._flying -= 1
        self._launched -= len(jobs)
        failure = done.exception()
        # A stopped window returns fewer rows.
        rows = [] if failure is not None else done.result()
        for job, row in zip(jobs, rows, strict=False):
            self._answer(job, row)
        if failure is not None:
            self._watcher.failed(len(jobs), failure)
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

    def retry_after(self) -> int:
        """Return the seconds until about half of the queue is done."""
        seconds = self.depth / 2 / self._rate if self._rate else 1
        return max(1, min(MAX_RETRY_S, math.ceil(seconds)))
