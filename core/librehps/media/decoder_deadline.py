"""The deadline of a decoder process: a time of its CPU, so that a busy machine costs no picture."""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

# A process that uses less of a core than this hangs, since one of low priority gets more.
MIN_SHARE = 0.01
MAX_TIMES = 10


class Deadline(threading.Thread):
    """A thread that calls `kill` once the process took `limit` seconds; `is_late` is then true.

    The seconds are those of the process's CPU, and of the clock where the CPU's are unknown, or if
    the process hangs. It has MAX_TIMES as long by the clock at most.
    """

    def __init__(self, pid: int, limit: float, kill: Callable[[], None]) -> None:
        super().__init__(name="deadline", daemon=True)
        self._pid, self._limit, self._kill = pid, limit, kill
        self._over = threading.Event()
        self._used, self._since = cpu_seconds(pid), time.monotonic()
        self.is_late = False

    def cancel(self) -> None:
        """End the thread: the process has answered."""
        self._over.set()

    def run(self) -> None:
        left = self._limit
        while left > 0:
            if self._over.wait(left):
                return
            left = self._left()
        self.is_late = True
        self._kill()

    def _left(self) -> float:
        """Return the seconds until the process may be late; 0 if it is."""
        used, waited = cpu_seconds(self._pid), time.monotonic() - self._since
        if used is None or self._used is None or waited > MAX_TIMES * self._limit:
            return 0
        used -= self._used
        return 0 if used < MIN_SHARE * waited else max(0, self._limit - used)


def cpu_seconds(pid: int) -> float | None:
    """Return the CPU time of a process in seconds; None where Linux does not tell it."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
        # The name of the program, in parentheses, may have spaces.
        user, system = fields.rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError):
        return None
