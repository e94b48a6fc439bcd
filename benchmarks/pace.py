"""The pace of the machine while something is measured: other programs on it change the pace."""

import hashlib
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import harmonic_mean

NAMES = 400
# CPU time of the process between two samples.
INTERVAL_S = 0.02


class Pace:
    """CPU time in µs of fixed work, in the mean of samples at equal steps of CPU time.

    Samples are taken inside a block of `sampled`, whatever this process does there.
    """

    def __init__(self) -> None:
        self._samples, self._spent, self._is_busy = list[float](), 0.0, False

    @contextmanager
    def sampled(self) -> Iterator[None]:
        """Take samples during the block; for the main thread."""
        before = signal.signal(signal.SIGPROF, lambda *_: self.sample())
        signal.siginterrupt(signal.SIGPROF, False)
        signal.setitimer(signal.ITIMER_PROF, INTERVAL_S, INTERVAL_S)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.signal(signal.SIGPROF, before)

    def begin(self) -> None:
        """Forget the samples, and take one."""
        self._samples.clear()
        self.sample()

    def sample(self) -> None:
        if self._is_busy:
            return
        self._is_busy = True
        start = time.thread_time()
        fixed_work()
        used = time.thread_time() - start
        self._samples.append(used)
        self._spent += used
        self._is_busy = False

    def clock(self) -> float:
        """Return the CPU seconds of this process without those of the samples."""
        return time.process_time() - self._spent

    @property
    def us(self) -> float:
        # At equal steps of time, so this is the mean of the paces.
        return harmonic_mean(self._samples) * 1e6


def fixed_work() -> None:
    """Do what costs a run its time: texts, a dict, numbers and a hash, in little memory."""
    names = [str(number) for number in range(NAMES)]
    lengths = {name: len(name) for name in names}
    total = sum(lengths[name] for name in names)
    hashlib.sha256("".join(names).encode() * (total % 7)).digest()
