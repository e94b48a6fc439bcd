"""Batches on the device, several at a time, and halved where it is full."""

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext

import torch

from librehps.errors import DeviceMemoryError, ItemError
from librehps.models.base import Model, Prepared, RawScore

log = logging.getLogger("librehps")

# What devices without an error class of their own say when they are full.
FULL = ("out of memory", "can't allocate memory", "not enough memory")

_counting, _runs, _base = threading.Lock(), 0, 1

# Head outputs of the items of a batch, one row each; fewer where the run was stopped.
Landed = list[RawScore | ItemError]


class Launcher:
    """Runs batches in lanes; `batch_size` shrinks for good where the device was full.

    On a CPU a lane is a core: batches that never wait for each other use it better than the
    threads of one batch, which meet after every operation. On a GPU one lane launches while the
    other waits for its results. The lanes of a CPU share the caller's threads of torch, which are
    set again at the end. Once `stop` is set, batches that have not begun give nothing.
    """

    def __init__(
        self,
        model: Model,
        batch_size: int,
        stop: threading.Event,
    ) -> None:
        self.batch_size, self.axes, device = batch_size, model.axes, model.device
        self._threads = threads = _begin()
        self.lanes = lanes_of(device, threads)
        self.meter = Meter(threads if device.type == "cpu" else 1)
        self._model, self._device, self._stop = model, device, stop
        self._closed = False
        # Of a GPU, since two threads that launch take turns at the interpreter for nothing.
        self._turn: AbstractContextManager[object] = (
            nullcontext() if device.type == "cpu" else threading.Lock()
        )
        # One permit per lane. An item that ran out of memory is retried once holding all permits.
        self._places, self._alone = threading.Semaphore(self.lanes), threading.Lock()
        self._pool = ThreadPoolExecutor(self.lanes, "forward", torch.get_num_threads)

    def submit(self, batches: Sequence[Sequence[Prepared]]) -> list[Future[Landed]]:
        """What each batch gives; they share the cores where they are fewer than the lanes."""
        threads = max(1, self._threads // max(1, len(batches)))
        return [self._pool.submit(self._run, batch, threads) for batch in batches]

    def close(self) -> None:
        """Wait for what runs, drop what does not yet, give the caller its threads back."""
        self._closed = True
        try:
            self._pool.shutdown(cancel_futures=True)
        finally:
            _end(self._threads if self._device.type == "cpu" else None)

    def _run(self, batch: Sequence[Prepared], threads: int) -> Landed:
        if self._device.type == "cpu":
            torch.set_num_threads(threads)
        found: Landed = []
        with self.meter.running(threads):
            # The batch size may have shrunk since it was planned.
            while len(found) < len(batch) and not (self._stop.is_set() or self._closed):
                found += self._halving(batch[len(found) :][: self.batch_size])
        return found

    def _halving(self, batch: Sequence[Prepared]) -> Landed:
        with self._places:
            rows = self._rows(batch)
        if rows is not None:
            return rows
        if len(batch) == 1:
            return [self._by_itself(batch)]
        half = len(batch) // 2
        if half < self.batch_size:
            self.batch_size = half
            log.warning("out of memory on %s: batches of %d from here on", self._device, half)
        return self._halving(batch[:half]) + self._halving(batch[half:])

    def _by_itself(self, item: Sequence[Prepared]) -> RawScore | ItemError:
        """Once more, while no other lane holds memory."""
        with self._alone, ExitStack() as places:
            for _ in range(self.lanes):
                places.enter_context(self._places)
            rows = self._rows(item)
        if rows is not None:
            return rows[0]
        return DeviceMemoryError(f"one item alone does not fit on {self._device}")

    def _rows(self, batch: Sequence[Prepared]) -> Landed | None:
        """What the items give; None where the device is full."""
        try:
            output = self._forward(batch)
        except (torch.OutOfMemoryError, RuntimeError) as error:
            if not is_full(error):
                raise
        else:
            return [*output]
        # Out of the handler, since the error holds on to what the forward had made.
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
        return None

    def _forward(self, batch: Sequence[Prepared]) -> list[RawScore]:
        with self._turn:
            wait = self._model.launch(batch)
        return wait()


def _begin() -> int:
    """Torch's threads, as they were before any run that is on set them for its lanes."""
    global _runs, _base
    with _counting:
        # Asked in any case: a thread's first question would undo what it was told before.
        threads = torch.get_num_threads()
        _base = threads if _runs == 0 else _base
        _runs += 1
        return _base


def _end(threads: int | None) -> None:
    global _runs
    with _counting:
        _runs -= 1
        if threads is not None:
            torch.set_num_threads(threads)


class Meter:
    """How long the device was busy; of `width` places, those that run count."""

    def __init__(self, width: int) -> None:
        self._width, self._running, self._seconds = width, 0, 0.0
        self._since, self._lock = time.perf_counter(), threading.Lock()

    @contextmanager
    def running(self, places: int) -> Iterator[None]:
        """So many places are taken within."""
        self._change(places)
        try:
            yield
        finally:
            self._change(-places)

    def take_seconds(self) -> float:
        """Busy seconds since it was last asked."""
        self._change(0)
        with self._lock:
            seconds, self._seconds = self._seconds, 0.0
        return seconds

    def _change(self, by: int) -> None:
        with self._lock:
            now = time.perf_counter()
            share = min(self._running, self._width) / self._width
            self._seconds += (now - self._since) * share
            self._since, self._running = now, self._running + by


def lanes_of(device: torch.device, threads: int) -> int:
    """How many batches are on the device at a time; `threads` are torch's."""
    return {"cpu": threads, "cuda": 2}.get(device.type, 1)


def is_full(error: Exception) -> bool:
    """Whether the error says that a device has no memory left."""
    if isinstance(error, torch.OutOfMemoryError):
        return True
    return any(words in str(error).lower() for words in FULL)
