"""The watch over the device: evidence that it scores, from batches and from probes."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from librehps.choices import DeviceStatus
from librehps.errors import DeviceError, EngineError

log = logging.getLogger("librehps")

MIN_INTERVAL_S, MIN_TIMEOUT_S = 2.0, 5.0
# A probe may take 1 % of the time, and this many times as long as the first one.
INTERVAL_PROBES, TIMEOUT_PROBES, BATCH_PROBES = 100, 20, 5
# A batch is overdue after this time or longer: it may wait for another on the same device.
MIN_BATCH_TIMEOUT_S = 30.0


@dataclass(frozen=True)
class Patience:
    """The times of a watch, in seconds, from those of one probe of `cost` tokens."""

    probe: float = 0.0
    cost: int = 1

    @property
    def interval(self) -> float:
        """The time without evidence after which a probe is due."""
        return max(MIN_INTERVAL_S, INTERVAL_PROBES * self.probe)

    @property
    def timeout(self) -> float:
        """The time after which a probe is overdue."""
        return max(MIN_TIMEOUT_S, TIMEOUT_PROBES * self.probe)

    def of_batch(self, cost: int) -> float:
        """Return the time after which a batch of `cost` tokens is overdue."""
        return max(MIN_BATCH_TIMEOUT_S, BATCH_PROBES * self.probe * cost / self.cost)


class DeviceWatch:
    """A watch that calls `probe`, one small forward, when no batch has succeeded for a while.

    `start` measures the first probe, on which all timeouts depend, and starts the thread of the
    other probes. `status` is `failed` after a probe that raised, and `stalled` while a probe or a
    batch is overdue; a success makes it `ready` again. `clock` returns seconds. Thread-safe.
    """

    def __init__(
        self, probe: Callable[[], object], cost: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._probe, self._cost, self._clock = probe, cost, clock
        self.patience = Patience()
        self._changed = threading.Condition()
        self._is_closed = self._is_due = False
        self._evidence = self._probed = clock()
        self._probing: float | None = None
        self._failed: float | None = None
        # When each running batch is overdue.
        self._batches: dict[object, float] = {}

    def start(self) -> None:
        """Run the first probe here, raising its errors, then start the thread of the others."""
        # Twice: the first forward of a process is not like any later one.
        self._probe()
        started = self._clock()
        self._probe()
        self.patience = Patience(self._clock() - started, self._cost)
        self._evidence = self._clock()
        # A daemon: a hung device must not keep the process.
        threading.Thread(target=self._keep, name="probe", daemon=True).start()

    def close(self) -> None:
        """End the thread of the probes, unless its probe hangs."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    @property
    def status(self) -> DeviceStatus:
        """The state of the device: ready, stalled or failed."""
        return self._state()[0]

    def patience_of_batch(self, cost: int) -> float:
        """Return the time after which a batch of `cost` tokens is overdue."""
        return self.patience.of_batch(cost)

    @property
    def unusable_for(self) -> float:
        """The seconds since the device stalled or failed; 0 while it is ready."""
        return self._state()[1]

    def _state(self) -> tuple[DeviceStatus, float]:
        with self._changed:
            now = self._clock()
            if self._failed is not None:
                return "failed", now - self._failed
            overdue = list(self._batches.values())
            if self._probing is not None and self._evidence < self._probing:
                overdue.append(self._probing + self.patience.timeout)
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
            self._batches[token] = self._clock() + self.patience.of_batch(cost)
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
        finally:
            with self._changed:
                del self._batches[token]

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

    def _keep(self) -> None:
        while self._wait():
            started = self._clock()
            try:
                self._probe()
            # Whatever a library of a device raises, the thread must go on.
            except Exception:  # noqa: BLE001
                self._fail()
            else:
                self._succeed()
                # The first probe may have been slow because other programs were starting.
                seconds = min(self.patience.probe, self._clock() - started)
                self.patience = replace(self.patience, probe=seconds)
            with self._changed:
                self._probing, self._probed = None, self._clock()

    def _wait(self) -> bool:
        """Wait until a probe is due; return False once the watch is closed."""
        with self._changed:
            while not (self._is_closed or self._is_due):
                left = max(self._evidence, self._probed) + self.patience.interval - self._clock()
                if left <= 0:
                    break
                self._changed.wait(left)
            self._is_due, self._probing = False, self._clock()
            return not self._is_closed

    def _fail(self) -> None:
        with self._changed:
            if self._failed is not None:
                return
            self._failed = self._clock()
        log.exception("the device failed a probe")
