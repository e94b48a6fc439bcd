"""The pace of the machine while something is measured: other programs on it change the pace."""

import hashlib
import statistics
import time

NAMES = 400


class Pace:
    """CPU time in µs of fixed work, in the median of the samples since `begin`.

    `spent` is the CPU seconds of these samples, for a caller that measures around them.
    """

    def __init__(self) -> None:
        self._samples, self.spent = list[float](), 0.0

    def begin(self) -> None:
        self._samples.clear()
        self.sample()
        self.spent = 0.0

    def sample(self) -> None:
        start = time.thread_time()
        fixed_work()
        used = time.thread_time() - start
        self._samples.append(used)
        self.spent += used

    @property
    def us(self) -> float:
        return statistics.median(self._samples) * 1e6


def fixed_work() -> None:
    """Do what costs a run its time: texts, a dict, numbers and a hash, in little memory."""
    names = [str(number) for number in range(NAMES)]
    lengths = {name: len(name) for name in names}
    total = sum(lengths[name] for name in names)
    hashlib.sha256("".join(names).encode() * (total % 7)).digest()
