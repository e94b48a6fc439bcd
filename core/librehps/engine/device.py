"""Batches on the device, several at a time, and halved when device memory runs out."""

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext

import torch

from librehps.engine.devices.pool import model_devices
from librehps.engine.lanes import lanes_of, threads_of_each
from librehps.errors import DeviceMemoryError, ItemError
from librehps.models.base import Model, Prepared, RawScore

log = logging.getLogger("librehps")

# Out-of-memory texts of devices that raise a plain RuntimeError.
OUT_OF_MEMORY_TEXTS = ("out of memory", "can't allocate memory", "not enough memory")

_counting, _runs, _base = threading.Lock(), 0, 1

# Raw score or error of each item of a batch; fewer after a stop.
BatchResult = Sequence[RawScore | ItemError]


class Launcher:
    """A runner of batches in lanes; out of memory lowers `batch_size` for the rest of the run.

    On a CPU a lane is a core: independent batches use cores better than the threads of one batch,
    which synchronise after every operation. On a GPU one lane launches while the other waits for
    results. CPU lanes share torch's threads, whose number `close` restores. After `stop` is set,
    batches that have not started return nothing.
    """

    def __init__(
        self,
        model: Model,
        batch_size: int,
        stop: threading.Event,
    ) -> None:
        self.batch_size, self.axes, device = batch_size, model.axes, model.device
        self._threads = threads = _start_run()
        devices = model_devices(model)
        self.devices = len(devices)
        self.lanes = len(devices) * lanes_of(device, threads_of_each(threads, len(devices)))
        # How many batches run at the same time without slowing each other down.
        self.places = self.lanes if device.type == "cpu" else self.devices
        self._unfinished, self._counting = 0, threading.Lock()
        self.meter = Meter(threads if device.type == "cpu" else len(devices))
        self._model, self._device, self._stop = model, device, stop
        self._name = ", ".join(map(str, devices))
        self._closed = False
        # The processes of several devices launch by themselves.
        self._launching = launching_lock(device) if len(devices) == 1 else nullcontext()
        # One permit per lane. An item that ran out of memory is retried once holding all permits.
        self._permits, self._retrying = threading.Semaphore(self.lanes), threading.Lock()
        self._pool = ThreadPoolExecutor(self.lanes, "forward", torch.get_num_threads)

    def submit(self, batches: Sequence[Sequence[Prepared]]) -> list[Future[BatchResult]]:
        """Return a future for each batch; fewer unfinished batches than lanes share all cores."""
        with self._counting:
            self._unfinished += len(batches)
            threads = max(1, self._threads // max(1, self._unfinished))
        futures = [self._pool.submit(self._run, batch, threads) for batch in batches]
        for future in futures:
            future.add_done_callback(self._count_finished)
        return futures

    def close(self) -> None:
        """Wait for running batches, cancel the others, and restore torch's number of threads."""
        self._closed = True
        try:
            self._pool.shutdown(cancel_futures=True)
        finally:
            _end_run(self._threads if self._device.type == "cpu" else None)

    def _count_finished(self, _: Future[BatchResult]) -> None:
        with self._counting:
            self._unfinished -= 1

    def _run(self, batch: Sequence[Prepared], threads: int) -> BatchResult:
        if self._device.type == "cpu":
            torch.set_num_threads(threads)
        found: BatchResult = ()
        with self.meter.running(threads if self._device.type == "cpu" else 1):
            # The batch size may have shrunk since it was planned.
            while len(found) < len(batch) and not (self._stop.is_set() or self._closed):
                scores = self._halving(batch[len(found) :][: self.batch_size])
                # Nearly always all at once, as columns.
                found = [*found, *scores] if found else scores
        return found

    def _halving(self, batch: Sequence[Prepared]) -> BatchResult:
        with self._permits:
            rows = self._rows(batch)
        if rows is not None:
            return rows
        if len(batch) == 1:
            return [self._retry_alone(batch)]
        half = len(batch) // 2
        if half < self.batch_size:
            self.batch_size = half
            log.warning("out of memory on %s: batch size is now %d", self._name, half)
        return [*self._halving(batch[:half]), *self._halving(batch[half:])]

    def _retry_alone(self, item: Sequence[Prepared]) -> RawScore | ItemError:
        """Return the result of one item, retried while no other lane uses device memory."""
        with self._retrying, ExitStack() as permits:
            for _ in range(self.lanes):
                permits.enter_context(self._permits)
            rows = self._rows(item)
        if rows is not None:
            return rows[0]
        return DeviceMemoryError(f"out of memory on {self._name} with this item alone")

    def _rows(self, batch: Sequence[Prepared]) -> BatchResult | None:
        """Return the items' raw scores; None if the device is out of memory."""
        return forward_or_full(self._model, batch, self._launching)


def launching_lock(device: torch.device) -> AbstractContextManager[object]:
    """Return a lock for launches: on a GPU two would only compete for the interpreter."""
    return nullcontext() if device.type == "cpu" else threading.Lock()


def forward_or_full(
    model: Model, batch: Sequence[Prepared], launching: AbstractContextManager[object]
) -> BatchResult | None:
    """Return the result of each item; None if the device is out of memory."""
    try:
        return _forward(model, batch, launching)
    except (torch.OutOfMemoryError, RuntimeError) as error:
        if not is_full(error):
            raise
    # Outside the handler, because the error keeps the forward's tensors alive.
    if model.device.type == "cuda":
        torch.cuda.empty_cache()
    return None


def probe_forward(model: Model, batch: Sequence[Prepared]) -> BatchResult | None:
    """Return what `forward_or_full` does, from a forward that does not wait for running batches.

    On CUDA it has a stream of its own: in that of the batches it would start after them.
    """
    if model.device.type != "cuda":
        return forward_or_full(model, batch, nullcontext())
    with torch.cuda.stream(torch.cuda.Stream(model.device)):
        return forward_or_full(model, batch, nullcontext())


def _forward(
    model: Model, batch: Sequence[Prepared], launching: AbstractContextManager[object]
) -> BatchResult:
    with launching:
        wait = model.launch(batch)
    return wait()


def _start_run() -> int:
    """Return torch's number of threads from before the first of the current runs changed it."""
    global _runs, _base
    with _counting:
        # Always called: a thread's first call would reset an earlier set_num_threads.
        threads = torch.get_num_threads()
        _base = threads if _runs == 0 else _base
        _runs += 1
        return _base


def _end_run(threads: int | None) -> None:
    global _runs
    with _counting:
        _runs -= 1
        if threads is not None:
            torch.set_num_threads(threads)


class Meter:
    """A meter of the device's busy seconds; `width` running places count as fully busy."""

    def __init__(self, width: int) -> None:
        self._width, self._running, self._seconds = width, 0, 0.0
        self._since, self._lock = time.perf_counter(), threading.Lock()

    @contextmanager
    def running(self, places: int) -> Iterator[None]:
        """Count `places` as running during the block."""
        self._change(places)
        try:
            yield
        finally:
            self._change(-places)

    def take_seconds(self) -> float:
        """Return the busy seconds since the last call."""
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


def is_full(error: Exception) -> bool:
    """Return whether the error means that a device is out of memory."""
    if isinstance(error, torch.OutOfMemoryError):
        return True
    return any(words in str(error).lower() for words in OUT_OF_MEMORY_TEXTS)
