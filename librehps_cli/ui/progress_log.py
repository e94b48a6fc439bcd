"""Plain progress lines for a log: one every 30 s, where no terminal shows a bar."""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from time import monotonic
from typing import TypeVar

from librehps.files import counted

Row = TypeVar("Row")
INTERVAL_S, POLL_S = 30.0, 1.0


class ProgressLog:
    """Prints a progress line every INTERVAL_S; `line` returns the line, `say` prints it."""

    def __init__(self, line: Callable[[], str], say: Callable[[str], None]) -> None:
        self._line, self._say = line, say
        self._said = monotonic()
        self._lock = threading.Lock()

    def tick(self) -> None:
        """Print the line if the last one is INTERVAL_S old."""
        with self._lock:
            now = monotonic()
            if now - self._said < INTERVAL_S:
                return
            self._said = now
        self._say(self._line())

    @contextmanager
    def ticking(self) -> Iterator[None]:
        """Return a context manager in which a thread ticks too."""
        # A slow device may finish no row for minutes.
        over = threading.Event()

        def keep_ticking() -> None:
            while not over.wait(POLL_S):
                self.tick()

        thread = threading.Thread(target=keep_ticking, name="progress", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


def progress_line(
    what: str, done: int, total: int | None, rate: float, errors: int | None = None
) -> str:
    """Return a plain line: done/total, items/s, time left, errors."""
    parts = [f"{what}: {done} items" if total is None else f"{what}: {done}/{total} items"]
    parts.append(f"{rate:.1f} items/s")
    if total is not None:
        left = timedelta(seconds=round((total - done) / rate)) if rate > 0 else "unknown"
        parts.append(f"ETA {left}")
    if errors is not None:
        parts.append(counted(errors, "error"))
    return ", ".join(parts)


def logged(rows: Iterable[Row], total: int, what: str, say: Callable[[str], None]) -> Iterator[Row]:
    """Yield the rows, and print a progress line every INTERVAL_S."""
    started, done = monotonic(), 0

    def line() -> str:
        return progress_line(what, done, total, done / max(monotonic() - started, 1e-9))

    log = ProgressLog(line, say)
    with log.ticking():
        for row in rows:
            log.tick()
            yield row
            done += 1
