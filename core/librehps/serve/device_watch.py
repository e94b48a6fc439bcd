"""The watch over the device: evidence that it scores, from batches and from probes."""

import logging
import math
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import contextmanager
from dataclasses import dataclass, replace

from librehps.choices import DeviceStatus
from librehps.errors import DeviceError, EngineError

log = logging.getLogger("librehps")

MIN_INTERVAL_S, MIN_TIMEOUT_S, MIN_BATCH_TIMEOUT_S = 2.0, 5.0, 30.0
# Once so many batches were seen, one is slow after so many times the slowest time of a token.
SEEN_BATCHES, SLOWEST_TIMES, MIN_SLOW_S = 20, 8, 8.0
# While the device works, probes take 1 % of the time; during a slow batch, up to 5 %.
INTERVAL_PROBES, SLOW_BATCH_PROBES = 100, 20
# A probe or a batch is overdue after so many times the time that it needs.
TIMEOUT_PROBES, BATCH_PROBES = 20, 5
# A process takes long to load its model again, so it is killed only later.
HUNG_TIMEOUTS = 4
# A batch that runs for this time without any result calls for a probe.
SLOW_BATCH_S = 3.0
FIRST_PROBES = 3
# The first forward of a process may compile kernels.
START_TIMEOUT_S = 600.0


@dataclass(frozen=True)
class Patience:
    """The times of a watch, in seconds, from those of one probe of `cost` tokens."""

    probe: float = 0.0
    cost: int = 1
    slowest: float = 0.0
    seen: int = 0

    def after(self, cost: int, seconds: float) -> "Patience":
        """Return the patience after a batch of `cost` tokens, which took `seconds`."""
        slowest = max(self.slowest, seconds / max(1, cost))
        return replace(self, slowest=slowest, seen=self.seen + 1)

    @property
    def interval(self) -> float:
        """The time without evidence after which a probe is due."""
        return max(MIN_INTERVAL_S, INTERVAL_PROBES * self.probe)

    @property
    def short_interval(self) -> float:
        """The time between probes while a batch is slow."""
        return max(MIN_INTERVAL_S, SLOW_BATCH_PROBES * self.probe)

    @property
    def timeout(self) -> float:
        """The time after which a probe is overdue."""
        return max(MIN_TIMEOUT_S, TIMEOUT_PROBES * self.probe)

    @property
    def hung(self) -> float:
        """The time without an answer to a probe after which a process of a device is killed."""
        return HUNG_TIMEOUTS * self.timeout if self.probe else START_TIMEOUT_S

    def of_batch(self, cost: int) -> float:
        """Return the longest time after which a batch of `cost` tokens is overdue."""
        return max(MIN_BATCH_TIMEOUT_S, BATCH_PROBES * self.probe * cost / self.cost)

    def of_known_batch(self, cost: int) -> float:
        """Return the time after which a batch is slower than any before; `of_batch` at first."""
        most = self.of_batch(cost)
        if self.seen < SEEN_BATCHES:
            return most
        predicted = BATCH_PROBES * self.probe * cost / self.cost
        return min(most, max(MIN_SLOW_S, predicted, SLOWEST_TIMES * self.slowest * cost))


class DeviceWatch:
    """A watch that calls `probe`, one small forward, when no batch has succeeded for a while.

    `start` measures some probes, on whose shortest time all timeouts depend, and starts the thread
    of the other probes. `status` is `failed` after a probe that raised, and `stalled` while a probe
    or a batch is overdue; a success makes it `ready` again. `name` is that of the device; `clock`
    returns seconds; a batch may take its time `attempts` times over. `batch` notes how long batches
    take, unless a pool does with `batch_took` (`is_pool`). Thread-safe.
    """

    def __init__(
        self,
        probe: Callable[[], object],
        cost: int,
        clock: Callable[[], float] = time.monotonic,
        name: str = "the device",
        attempts: int = 1,
        is_pool: bool = False,
    ) -> None:
        self._probe, self._clock, self._name = probe, clock, name
        self._attempts, self._is_pool = attempts, is_pool
        self.patience = Patience(cost=cost)
        self._changed = threading.Condition()
        self._is_closed = self._is_due = False
        self._evidence = self._probed = clock()
        # When the thread of the probes wakes up.
        self._wakes = math.inf
        self._probing: float | None = None
        self._failed: float | None = None
        # When each running batch started, and when it is overdue.
        self._batches: dict[object, tuple[float, float]] = {}

    def start(self, timeout: float = START_TIMEOUT_S) -> None:
        """Measure the first probes, raising their errors, then let a thread make the others.

        Raises EngineError if the first probes have not ended after `timeout` seconds.
        """
        first: Future[None] = Future()
        # A daemon: a hung device must not keep the process.
        threading.Thread(target=self._keep, args=[first], name="probe", daemon=True).start()
        try:
            first.result(timeout)
        except FutureTimeoutError as error:
            self.close()
            raise EngineError(
                f"{self._name}: no answer to a first small forward within {timeout:.3g} s",
                hint="Check the device, for example with nvidia-smi, or use another --device.",
            ) from error

    def close(self) -> None:
        """End the thread of the probes, unless its probe hangs."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    @property
    def status(self) -> DeviceStatus:
        """The state of the device: ready, stalled or failed."""
        return self.state()[0]

    def batch_timeout(self, cost: int, answered: int) -> float:
        """Return the time after which a batch hangs, on a device that has `answered` some.

        A process that has just started may be slower than those before.
        """
        is_known = answered >= SEEN_BATCHES
        return self.patience.of_known_batch(cost) if is_known else self.patience.of_batch(cost)

    def batch_took(self, cost: int, seconds: float) -> None:
        """Note that a batch took this time on its device."""
        with self._changed:
            self.patience = self.patience.after(cost, seconds)

    def state(self) -> tuple[DeviceStatus, float]:
        """Return the state of the device, and the seconds since it stalled or failed."""
        with self._changed:
            now = self._clock()
            if self._failed is not None:
                return "failed", now - self._failed
            overdue = [late for _, late in self._batches.values()]
            if self._probing is not None:
                # A batch that ended during the probe shows that the device worked until then.
                overdue.append(max(self._probing, self._evidence) + self.patience.timeout)
            since = min(overdue, default=now)
            return ("stalled", now - since) if since < now else ("ready", 0.0)

    def check(self) -> None:
        """Raise DeviceError unless the device is ready."""
        status = self.status
        if status != "ready":
            raise DeviceError(f"the device has {status}: see the server's log", status)

    @contextmanager
    def batch(self, cost: int) -> Iterator[None]:
        """Watch the block, which scores a batch of `cost` tokens.

        An error of the device makes a probe at once, and becomes a DeviceError.
        """
        token = object()
        with self._changed:
            now = self._clock()
            self._batches[token] = now, now + self._attempts * self._patience_of(cost)
            if self.due < self._wakes:
                self._changed.notify_all()
        try:
            yield
        except DeviceError:
            self.suspect()
            raise
        except (RuntimeError, EngineError) as error:
            log.exception("a batch failed on the device")
            self.suspect()
            raise DeviceError("the device failed: see the server's log", "failed") from error
        else:
            self._succeed()
            if not self._is_pool:
                # The time on a pool has waits for its devices, and for new processes.
                self.batch_took(cost, self._clock() - now)
        finally:
            with self._changed:
                del self._batches[token]

    def _patience_of(self, cost: int) -> float:
        # A pool has a device less while it starts a process again: its batches may then wait.
        of_batch = self.patience.of_batch if self._attempts > 1 else self.patience.of_known_batch
        return of_batch(cost)

    def suspect(self) -> None:
        """Make a probe at once, for example after a batch that failed."""
        with self._changed:
            self._is_due = True
            self._changed.notify_all()

    def _succeed(self) -> None:
        with self._changed:
            if self._failed is not None:
                log.warning("the device works again")
            self._evidence, self._failed = self._clock(), None

    def _keep(self, first: "Future[None]") -> None:
        try:
            # The first forward of a process is not like any later one.
            self._probe()
            times = [self._measured() for _ in range(FIRST_PROBES)]
        except BaseException as error:  # noqa: BLE001 - raised in `start`
            first.set_exception(error)
            return
        self.patience = replace(self.patience, probe=min(times))
        self._evidence = self._probed = self._clock()
        first.set_result(None)
        while self._wait():
            self._try()

    def _measured(self) -> float:
        started = self._clock()
        self._probe()
        return self._clock() - started

    def _try(self) -> None:
        """Make a probe, and note what it shows."""
        try:
            seconds = self._measured()
        # Whatever a library of a device raises, the thread must go on.
        except BaseException:  # noqa: BLE001
            self._fail()
        else:
            self._succeed()
            # Others may have been slow because other programs were running.
            with self._changed:
                seconds = min(self.patience.probe, seconds)
                self.patience = replace(self.patience, probe=seconds)
        with self._changed:
            self._probing, self._probed = None, self._clock()

    def _wait(self) -> bool:
        """Wait until a probe is due; return False once the watch is closed."""
        with self._changed:
            while not (self._is_closed or self._is_due):
                self._wakes = self.due
                left = self._wakes - self._clock()
                if left <= 0:
                    break
                self._changed.wait(left)
            self._is_due, self._probing = False, self._clock()
            return not self._is_closed

    @property
    def due(self) -> float:
        """The time of the next probe, unless a batch succeeds or starts before."""
        if self._failed is not None:
            # No batch can show that the device works again, since the server takes none.
            return self._probed + MIN_INTERVAL_S
        due = max(self._evidence, self._probed) + self.patience.interval
        starts = [started for started, _ in self._batches.values()]
        if not starts:
            return due
        slow = max(min(starts) + SLOW_BATCH_S, self._probed + self.patience.short_interval)
        return min(due, slow)

    def _fail(self) -> None:
        with self._changed:
            # A closed watch belongs to a server that has ended: its device may have ended too.
            if self._failed is not None or self._is_closed:
                return
            self._failed = self._clock()
        log.exception("the device failed a probe")
