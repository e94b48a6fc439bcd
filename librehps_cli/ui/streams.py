"""Standard streams of a command: output that is lost is an error, messages that are lost are not.

A full disk or a closed stream would otherwise end in a traceback, or go unnoticed.
"""

import errno
import io
import os
import select
import sys
from pathlib import Path
from typing import Any, TextIO

from librehps.errors import OutputError


def guard_streams() -> None:
    """Replace stdout and stderr unless they are terminals, and stand in for closed streams."""
    if sys.stdin is None:
        sys.stdin = Path(os.devnull).open(encoding="utf-8")  # noqa: SIM115 - never closed
    sys.stdout = _guarded(sys.stdout, 1, _Data)
    sys.stderr = _guarded(sys.stderr, 2, _Talk)


class ReaderLeftError(Exception):
    """The reader of stdout has left, which is no error to talk about."""


class _Pipe(io.FileIO):
    """A file descriptor that drops everything written after the first error."""

    is_lost = False

    def write(self, data: Any) -> int:
        if self.is_lost:
            return len(data)
        try:
            # None: a non-blocking descriptor has no room yet.
            while (written := super().write(data)) is None:
                select.select([], [self], [])
        except OSError as error:
            self.is_lost = True
            self.lose(error)
            return len(data)
        return written

    def lose(self, error: OSError) -> None:
        """React to the first error."""


class _Talk(_Pipe):
    """A descriptor for messages: a run goes on without them."""


class _Data(_Pipe):
    """A descriptor for data, whose loss raises OutputError; a reader that left, ReaderLeftError."""

    def lose(self, error: OSError) -> None:
        if error.errno == errno.EPIPE:
            raise ReaderLeftError from error
        reason = "the stream is closed" if error.errno == errno.EBADF else error.strerror
        raise OutputError(f"stdout cannot be written: {reason}") from error


def _guarded(stream: TextIO | None, number: int, kind: type[_Pipe]) -> TextIO:
    if stream is None:
        # Every write fails on a descriptor that is open for reading alone.
        raw = kind(os.open(os.devnull, os.O_RDONLY), "w")
        return _text(raw, "utf-8", "backslashreplace", number)
    if not _is_descriptor(stream, number) or stream.isatty():
        return stream
    stream.flush()
    raw = kind(number, "w", closefd=False)
    return _text(raw, stream.encoding, stream.errors or "strict", number)


def _text(raw: _Pipe, encoding: str, errors: str, number: int) -> TextIO:
    buffer = io.BufferedWriter(raw)
    return io.TextIOWrapper(buffer, encoding, errors, line_buffering=number == 2)


def _is_descriptor(stream: TextIO, number: int) -> bool:
    """Return whether the stream writes to this descriptor, and not to a test or a notebook."""
    try:
        return stream.fileno() == number
    except (OSError, ValueError, AttributeError):
        return False
