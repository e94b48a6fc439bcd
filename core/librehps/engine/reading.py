"""The read stage: media at URLs are read ahead of the threads that decode."""

import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import TypeVar

from librehps.media.media import Media
from librehps.storage.outcome import Outcome
from librehps.types import Kind

# The longest wait at the end for reads in progress.
CLOSE_TIMEOUT_S = 1.0

T = TypeVar("T")

# Reads at one time: a read waits, and needs no core.
MAX_READS = 64
# Bytes that are read or being read, and not yet decoded.
MAX_BYTES = 256 << 20
# The size of media before the first was read; a video has many frames.
UNKNOWN = "unknown"
USUAL_BYTES = {"image": 1 << 20, "video": 64 << 20, UNKNOWN: 16 << 20}


class ByteBudget:
    """A limit on the bytes in memory; one larger than the limit waits until it is the only one."""

    def __init__(self, limit: int) -> None:
        self._limit, self._held, self._changed = limit, 0, threading.Condition()

    def take(self, size: int) -> None:
        """Wait until there is room for `size` bytes, and take it."""
        with self._changed:
            self._changed.wait_for(lambda: not self._held or self._held + size <= self._limit)
            self._held += size

    def end(self) -> None:
        """Let every waiting thread go on."""
        with self._changed:
            self._held, self._limit = 0, sys.maxsize
            self._changed.notify_all()

    def change(self, by: int) -> None:
        """Give back room, or take more of it without a wait."""
        with self._changed:
            self._held += by
            self._changed.notify_all()


class Sizes:
    """An estimate of the size of the next media, the mean of those that were read."""

    def __init__(self) -> None:
        self._count: Counter[str] = Counter()
        self._bytes: Counter[str] = Counter()

    def add(self, kind: str, size: int) -> None:
        self._count[kind] += 1
        self._bytes[kind] += size

    def of(self, kind: str) -> int:
        return self._bytes[kind] // self._count[kind] if self._count[kind] else USUAL_BYTES[kind]


class ReadAhead:
    """Threads that read remote media; each then calls the next stage with its media in memory.

    They are daemons: a read that waits for a server that never answers must not hold up the end of
    the program.
    """

    def __init__(self, reads: int = MAX_READS, limit: int = MAX_BYTES) -> None:
        self._reads, self._budget, self._sizes = reads, ByteBudget(limit), Sizes()
        self._tasks: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._is_closed = False

    def submit(
        self, content: Media, kind: Kind | None, decode: Callable[[], "Future[T]"]
    ) -> "Future[T]":
        """Return the future of `decode`, which is called once the media are in memory."""
        done: Future[T] = Future()

        def task() -> None:
            outcome: Outcome[int] = Outcome()
            with outcome:
                outcome.value = self._read(content, kind or UNKNOWN)
            if outcome.error is not None:
                done.set_exception(outcome.error)
            elif not self._is_closed:
                decode().add_done_callback(lambda decoded: self._pass(decoded, done, outcome.value))

        self._tasks.put(task)
        if len(self._threads) < self._reads:
            thread = threading.Thread(target=self._run, name="read", daemon=True)
            self._threads.append(thread)
            thread.start()
        return done

    def close(self) -> None:
        """End the threads; media that are being read are dropped."""
        self._is_closed = True
        self._budget.end()
        for _ in self._threads:
            self._tasks.put(None)
        end = time.monotonic() + CLOSE_TIMEOUT_S
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))

    def _read(self, content: Media, kind: str) -> int:
        expected = self._sizes.of(kind)
        self._budget.take(expected)
        size = 0 if self._is_closed else content.load()
        if size:
            self._sizes.add(kind, size)
        self._budget.change(size - expected)
        return size

    def _pass(self, decoded: "Future[T]", done: "Future[T]", size: int) -> None:
        self._budget.change(-size)
        if decoded.cancelled():
            return
        if error := decoded.exception():
            done.set_exception(error)
        else:
            done.set_result(decoded.result())

    def _run(self) -> None:
        while (task := self._tasks.get()) is not None:
            task()
            # Or the thread would keep the decoded item until its next task, and free tensors at the
            # end of the program, where that aborts.
            del task
