"""A process that scores on one device, until it dies, as the main process sees it."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import IO, Any

from librehps import errors
from librehps.engine.devices.link import Link, Message, memory_file, send_files, write_batch
from librehps.errors import EngineError, LibreHPSError
from librehps.models.base import Prepared, RawScore

# The first words of the command; the process imports nothing from the working directory.
PYTHON: tuple[str, ...] = (sys.executable, "-P")
MODULE = "librehps.engine.devices.process"
EXIT_TIMEOUT_S = 5.0
MAX_REASON_CHARS = 300

# Raw scores of a batch, None if the device was out of memory.
Answer = list[RawScore] | None


class ProcessDiedError(Exception):
    """The process of a device died while it had a batch; the text says how."""


class Child:
    """A process that scores batches on one device, one batch in each of `slots` at a time.

    `free` are the slots without a batch; `is_reserved` keeps other batches out; `answered` counts
    the answered batches. The slot after the last is for probes alone, which run beside batches.
    """

    def __init__(self, slots: int) -> None:
        self.free: list[int] = []
        self.is_reserved = self.is_dead = False
        self.answered = 0
        self._hung_how = ""
        self.slots = slots
        self._files = [memory_file() for _ in range(slots + 1)]
        self._running: dict[int, Future[Answer]] = {}
        # What it prints; the last line says why it died.
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - closed below
        end, other = socket.socketpair()
        with other:
            self._process = _start(other, self._said.fileno())
        self._link = Link(end)
        # Not sooner: a thread may be writing a batch when the process dies.
        closing = weakref.finalize(self, _close, self._files, self._said, self._link)
        closing.atexit = False
        with suppress(OSError):
            # Where the process has ended already, `load` says so.
            send_files(end, self._files)

    @property
    def is_idle(self) -> bool:
        """True if the process is ready and no batch runs."""
        return len(self.free) == self.slots and not self.is_dead

    def load(self, asked: Message) -> Iterator[Message]:
        """Let the process load the model; yield its warnings, then {"loaded": ...}.

        Raises the error of loading, and ProcessDiedError.
        """
        with suppress(OSError):
            self._link.send(asked)
        while (message := self._link.receive()) is not None:
            if "error" in message:
                name, text, hint = message["error"]
                kind: type[LibreHPSError] = getattr(errors, name)
                raise kind(text, hint=hint)
            yield message
            if "loaded" in message:
                return
        raise ProcessDiedError

    def ask(self, slot: int, batch: Sequence[Prepared], threads: int) -> "Future[Answer]":
        """Start a batch; the future raises ProcessDiedError. Raises EngineError without memory."""
        try:
            layouts = write_batch(self._files[slot], batch)
        except OSError as error:
            raise EngineError(
                f"cannot pass a batch of {len(batch)} to the process of a device "
                f"({error.strerror})",
                hint="Use a smaller --batch-size, or free memory.",
            ) from error
        future: Future[Answer] = Future()
        self._running[slot] = future
        try:
            self._link.send({"slot": slot, "batch": layouts, "threads": threads})
        except OSError:
            # Its worker may notice later: until then no other batch may come here.
            self.is_dead = True
            self._link.shut()
            # `abandon` may have come before this batch was there.
            self._fail(slot, "while it got a batch")
        return future

    def follow(self) -> Iterator[Message]:
        """Complete the futures of answered batches until the process ends; yield each message."""
        while (message := self._link.receive()) is not None:
            if "rows" in message:
                rows = message["rows"]
                found = None if rows is None else [raw_score(row) for row in rows]
                self._running.pop(message["slot"]).set_result(found)
            yield message

    def abandon(self, how: str) -> None:
        """Let the batches of an ended process fail with ProcessDiedError."""
        for slot in list(self._running):
            self._fail(slot, how)

    def _fail(self, slot: int, how: str) -> None:
        future = self._running.pop(slot, None)
        if future is not None:
            future.set_exception(ProcessDiedError(how))

    def kill_hung(self, seconds: float) -> None:
        """End a process that has not answered for this time; its batches fail."""
        self._hung_how = f"no answer for {seconds:.3g} s"
        self.is_dead = True
        self.kill()

    def kill(self) -> None:
        """End the process at once."""
        self._link.shut()
        self._process.kill()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(EXIT_TIMEOUT_S)

    def end(self) -> str:
        """End the process if it has not ended, and return how it did."""
        self._link.shut()
        try:
            code = self._process.wait(EXIT_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        return self._hung_how or f"{_how(code)}{self._last_line()}"

    def _last_line(self) -> str:
        self._said.seek(0)
        lines = self._said.read().decode(errors="replace").strip().splitlines()
        return f": {lines[-1][:MAX_REASON_CHARS]}" if lines else ""


def raw_score(row: Any) -> RawScore:
    """Return the raw score that was sent as JSON."""
    mu, sigma, scalar = row
    return RawScore(tuple(mu), tuple(sigma), scalar)


def _start(end: socket.socket, said: int) -> "subprocess.Popen[bytes]":
    search = os.pathsep.join(entry for entry in sys.path if entry)
    return subprocess.Popen(
        [*PYTHON, "-m", MODULE],
        stdin=end.fileno(),
        stdout=said,
        stderr=said,
        env={**os.environ, "PYTHONPATH": search},
        # A terminal's Ctrl-C is for the main process.
        start_new_session=True,
    )


def _how(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    # Real-time signals have no member of their own.
    names = {one.value: one.name for one in signal.Signals}
    name = names.get(-code, f"signal {-code}")
    hint = ", as when the system is out of memory" if name == "SIGKILL" else ""
    return f"killed by {name}{hint}"


def _close(files: list[int], said: IO[bytes], link: Link) -> None:
    for file in files:
        os.close(file)
    said.close()
    link.close()
