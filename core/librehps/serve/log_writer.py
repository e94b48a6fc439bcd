"""A log handler that writes from a thread, so that a stuck reader of stderr stops no request."""

import contextlib
import logging
import os
import queue
import select
import sys
import threading
from typing import TextIO

# Lines that wait for a slow reader of stderr; further lines are dropped, and counted.
MAX_WAITING_LINES = 10_000
# Time that the end of the process waits for the last lines.
FLUSH_S = 2.0
STDERR = 2


class LogWriter(logging.Handler):
    """A handler that formats each line at once, and writes it to stderr in a thread."""

    def __init__(self) -> None:
        super().__init__()
        self.dropped = 0
        self._lines: queue.SimpleQueue[str | threading.Event] = queue.SimpleQueue()
        threading.Thread(target=self._write_all, name="logs", daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        """Queue the line, or drop it if too many wait."""
        if self._lines.qsize() >= MAX_WAITING_LINES:
            self.dropped += 1
            return
        try:
            self._lines.put(self.format(record) + "\n")
        except (TypeError, ValueError):
            # The arguments do not fit the message.
            self.handleError(record)

    def flush(self) -> None:
        """Wait until all lines are written, at most for FLUSH_S seconds."""
        written = threading.Event()
        self._lines.put(written)
        written.wait(FLUSH_S)

    def _write_all(self) -> None:
        told = 0
        while True:
            line = self._lines.get()
            if isinstance(line, threading.Event):
                line.set()
                continue
            if (dropped := self.dropped) != told:
                line = self._note(dropped - told) + line
                told = dropped
            # Nothing can be said on a closed stderr.
            with contextlib.suppress(OSError, ValueError):
                _write(line)

    def _note(self, dropped: int) -> str:
        """Return the line that tells the number of lines dropped."""
        message = f"{dropped} lines of the log were dropped: stderr is read too slowly"
        facts = {"name": "librehps", "levelname": "WARNING", "msg": message}
        return self.format(logging.makeLogRecord(facts)) + "\n"


def dropped_lines() -> int:
    """Return the number of lines dropped so far."""
    handlers = logging.getLogger("librehps").handlers
    return sum(handler.dropped for handler in handlers if isinstance(handler, LogWriter))


def _write(line: str) -> None:
    """Write the line without the lock of sys.stderr, which would block the end of the process."""
    if not _is_stderr(sys.stderr):
        sys.stderr.write(line)
        sys.stderr.flush()
        return
    left = memoryview(line.encode(errors="backslashreplace"))
    while left:
        try:
            left = left[os.write(STDERR, left) :]
        except BlockingIOError:
            select.select([], [STDERR], [])


def _is_stderr(stream: TextIO) -> bool:
    """Return whether the stream is the process's own, not one of a test."""
    try:
        return stream.fileno() == STDERR
    except (OSError, ValueError):
        return False
