"""Decoding for the queue: many requests take turns, and memory is bounded."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial

import torch

from librehps.engine.engine import LocalEngine
from librehps.engine.isolated_decode import IsolatedDecoder, IsolatedMedia
from librehps.engine.ready import Ready
from librehps.engine.stage import make_ready, without_frames
from librehps.errors import ItemError, MediaError
from librehps.media.media import READ_ERRORS, Media, unreadable
from librehps.media.videos import MAX_MEMORY_BYTES, VideoReader
from librehps.models.free_memory import free_memory
from librehps.models.freed_memory import return_freed_memory
from librehps.serve.decode_cost import Cost, check_memory, cost_of, needs_process
from librehps.serve.fair_queue import FairQueue
from librehps.types import Item

# Threads apart from the decoders, since hosts may be slow.
FETCH_THREADS = 8
# Added to the priority of the processes of long decodes, so that they only get what is left.
NICENESS = 10
# CPU time for a small image in a format that is never opened in the server's own process.
SMALL_TIMEOUT_S = 10.0
MIN_DEFAULT_BYTES = 512 << 20


@dataclass(frozen=True)
class Pending:
    """An item that is not loaded yet; a thread calls `load`, which returns the item.

    Errors call the media `name`, the client's own word for it. `load` raises ItemError.
    `is_remote`: loading may wait for another host.
    """

    id: str
    name: str
    load: Callable[[], Item]
    is_remote: bool = False


@dataclass(frozen=True)
class DecodeMemory:
    """The bytes for decoding in processes and in threads, for decoded items that wait, for fetches.

    `fetch`: the largest file of a URL.
    """

    process: int
    thread: int
    ready: int
    fetch: int

    @classmethod
    def of(cls, total: int | None, fetch: int) -> "DecodeMemory":
        """Return the shares of `total` bytes, None: of a quarter of the free memory."""
        if total is None:
            free = free_memory(torch.device("cpu")) or 0
            total = max(MIN_DEFAULT_BYTES, free // 4)
        return cls(total // 2, total // 4, total // 4, fetch)


class _UnwantedError(Exception):
    """The item was cancelled, or the server stops."""


@dataclass(eq=False)
class Task:
    """An item to decode for a request (`group`); `done` gets the decoded item or its error.

    `seconds`: the time that workers took for it; `waited`: for a worker and for memory.
    """

    pending: Pending
    group: object
    done: "Future[Ready]" = field(default_factory=Future)
    fetched: Item | None = None
    held: int = 0
    lane: "_Lane | None" = None
    reader: VideoReader | None = None
    is_cancelled: bool = False
    seconds: float = 0.0
    waited: float = 0.0
    started: float | None = None
    submitted: float = field(default_factory=time.monotonic)

    def pause(self) -> None:
        """Add the time since a worker took the task to `seconds`."""
        if self.started is not None:
            self.seconds += time.monotonic() - self.started
            self.started = None


class _Lane:
    """Tasks that wait for one kind of worker."""

    def __init__(self, lock: threading.Lock) -> None:
        self.tasks = FairQueue[Task]()
        self.changed = threading.Condition(lock)


class _Share:
    """Bytes of memory of which each user takes a part."""

    def __init__(self, lock: threading.Lock, size: int) -> None:
        self.size, self.changed = size, threading.Condition(lock)
        self._lock, self._used, self._turn = lock, 0, threading.Lock()

    def take(self, size: int, check: Callable[[], None]) -> None:
        """Wait until `size` bytes are free, behind those that wait already; `check` may raise."""
        with self._turn, self._lock:
            check()
            while self._used and self._used + size > self.size:
                self.changed.wait()
                check()
            self._used += size

    def give(self, size: int) -> None:
        with self._lock:
            self._used -= size
            self.changed.notify_all()


class Decoding:
    """The workers that load and decode items; requests take turns. Thread-safe.

    Threads decode what is quick. Large images, animations and videos are decoded in processes of
    lower priority, of which there are fewer than cores, so that they do not hold up others. Small
    images that no thread may open are decoded in processes of their own. Items
    wait undecoded while `max_ready` decoded ones, or their share of the memory, wait for a device.
    """

    def __init__(self, engine: LocalEngine, memory: DecodeMemory, max_ready: int) -> None:
        self._engine, self._memory, self._max_ready = engine, memory, max_ready
        self._lock = threading.Lock()
        lanes = [_Lane(self._lock) for _ in range(4)]
        self._fetching, self._quick, self._small, self._long = self._lanes = lanes
        self._fetched = _Share(self._lock, FETCH_THREADS * memory.fetch)
        self._in_threads = _Share(self._lock, memory.thread)
        self._in_processes = _Share(self._lock, memory.process)
        self._ready_bytes = self._ready_count = 0
        self._is_closed, self._fetches = False, False
        backend, most = engine.decoder.readers.backend, memory.process + MAX_MEMORY_BYTES
        count = range(max(1, engine.workers - 1))
        small = [VideoReader(backend, SMALL_TIMEOUT_S, most) for _ in count]
        large = [VideoReader(backend, memory_limit=most, niceness=NICENESS) for _ in count]
        self._readers = [*small, *large]
        self._threads: list[threading.Thread] = []
        for _ in range(engine.workers):
            self._start(self._quick, self._decode_here)
        for reader in small:
            self._start(self._small, partial(self._decode_there, reader, is_small=True))
        for reader in large:
            self._start(self._long, partial(self._decode_there, reader))

    def submit(self, pending: Pending, group: object) -> Task:
        """Start to load and decode an item, in turn with other groups."""
        task = Task(pending, group)
        if pending.is_remote and not self._fetches:
            # Most servers fetch nothing.
            self._fetches = True
            for _ in range(FETCH_THREADS):
                self._start(self._fetching, self._fetch)
        self._put(task, self._fetching if pending.is_remote else self._quick)
        return task

    def cancel(self, task: Task) -> None:
        """Drop a task; a process that decodes it is killed."""
        with self._lock:
            task.is_cancelled = True
            if task.lane is not None:
                task.lane.tasks.remove(task.group, task)
                task.lane = None
                task.done.cancel()
            elif task.reader is not None:
                task.reader.kill()
            self._notify()
        if task.done.cancelled():
            self._release(task)

    def taken(self, ready: Ready) -> None:
        """Count a decoded item, one without an error, as no longer waiting for a device."""
        with self._lock:
            self._ready_bytes -= _size_of(ready)
            self._ready_count -= 1
            for lane in self._lanes:
                lane.changed.notify_all()

    def close(self) -> None:
        """Drop the tasks that wait, kill the processes, and wait for the other workers."""
        with self._lock:
            self._is_closed = True
            self._notify()
        for reader in self._readers:
            reader.kill()
        for thread in self._threads:
            thread.join()
        for reader in self._readers:
            reader.close()

    def _notify(self) -> None:
        for each in self._lanes:
            each.changed.notify_all()
        for share in (self._fetched, self._in_threads, self._in_processes):
            share.changed.notify_all()

    def _start(self, lane: _Lane, step: Callable[[Task], None]) -> None:
        thread = threading.Thread(target=self._work, args=(lane, step), daemon=True)
        self._threads.append(thread)
        thread.start()

    def _put(self, task: Task, lane: _Lane) -> None:
        with self._lock:
            if task.is_cancelled:
                raise _UnwantedError
            task.pause()
            task.lane = lane
            lane.tasks.add(task.group, task)
            lane.changed.notify()

    def _work(self, lane: _Lane, step: Callable[[Task], None]) -> None:
        while (task := self._next(lane)) is not None:
            task.started = time.monotonic()
            try:
                step(task)
            except _UnwantedError:
                self._release(task)
                task.done.cancel()
            except BaseException as error:  # noqa: BLE001 - the item's request reports it
                self._release(task)
                task.done.set_exception(error)

    def _next(self, lane: _Lane) -> Task | None:
        """Return the next task of a lane, once there is room for decoded items; None at the end."""
        with self._lock:
            while not self._is_closed:
                is_full = lane is not self._fetching and self._is_full()
                if lane.tasks and not is_full:
                    task = lane.tasks.pop()
                    task.lane = None
                    return task
                lane.changed.wait()
        return None

    def _is_full(self) -> bool:
        return self._ready_count >= self._max_ready or self._ready_bytes >= self._memory.ready

    def _fetch(self, task: Task) -> None:
        self._fetched.take(self._memory.fetch, partial(self._check, task))
        task.held = self._memory.fetch
        item = self._load(task)
        if isinstance(item, Ready):
            self._finish(task, item)
            return
        size = Media(item.media).load()
        task.fetched, spare = item, task.held - size
        task.held = size
        self._fetched.give(spare)
        self._put(task, self._quick)

    def _decode_here(self, task: Task) -> None:
        item = self._load(task)
        if isinstance(item, Ready):
            self._finish(task, item)
            return
        content = Media(item.media, self._engine.decoder.readers, task.pending.name)
        cost = self._cost(item, content, None)
        if isinstance(cost, Ready):
            self._finish(task, cost)
        elif cost.is_unknown:
            self._put(task, self._small)
        elif cost.is_long or cost.total > self._in_threads.size:
            # The bytes are loaded again later, so that waiting items hold only what came in.
            self._put(task, self._long)
        else:
            with self._holding(self._in_threads, cost.total, task):
                decoder = self._engine.decoder
                self._finish(task, make_ready(item, self._engine.find_prompt, decoder, content))

    def _decode_there(self, reader: VideoReader, task: Task, is_small: bool = False) -> None:
        share = self._in_threads if is_small else self._in_processes
        item = self._load(task)
        if isinstance(item, Ready):
            self._finish(task, item)
            return
        with self._reading(reader, task):
            content = IsolatedMedia(item.media, reader, task.pending.name)
            cost = self._cost(item, content, reader)
            is_long = isinstance(cost, Cost) and (cost.is_long or cost.total > share.size)
            if isinstance(cost, Ready):
                ready = cost
            elif not (is_small and is_long):
                with self._holding(share, cost.total, task):
                    ready = self._isolated(item, content, cost, reader)
        if is_small and is_long:
            self._put(task, self._long)
        else:
            self._finish(task, ready)

    def _isolated(self, item: Item, content: Media, cost: Cost, reader: VideoReader) -> Ready:
        decoder = IsolatedDecoder.of(self._engine.decoder, reader)
        decoder = replace(decoder, memory=cost.process)
        ready = make_ready(item, self._engine.find_prompt, decoder, content)
        # Pixels of this size are not kept for the next item, which may be small.
        return_freed_memory()
        return ready

    @contextmanager
    def _holding(self, share: _Share, size: int, task: Task) -> Iterator[None]:
        """Hold memory during the block; the wait for memory is no time of a worker."""
        task.pause()
        share.take(size, partial(self._check, task))
        task.started = time.monotonic()
        try:
            yield
        finally:
            share.give(size)

    @contextmanager
    def _reading(self, reader: VideoReader, task: Task) -> Iterator[None]:
        """Let `cancel` kill the reader's process during the block."""
        with self._lock:
            self._check(task)
            task.reader = reader
        try:
            yield
        finally:
            with self._lock:
                task.reader = None

    def _check(self, task: Task) -> None:
        if task.is_cancelled or self._is_closed:
            raise _UnwantedError

    def _load(self, task: Task) -> Item | Ready:
        """Return the item, or its error."""
        if task.fetched is not None:
            return task.fetched
        pending = task.pending
        try:
            return pending.load()
        except ItemError as error:
            return _failed(Item(pending.id, None, None), error)
        except (ValueError, OSError, MemoryError) as error:
            problem = MediaError(f"cannot read {pending.name}: {type(error).__name__}")
            return _failed(Item(pending.id, None, None), problem)

    def _cost(self, item: Item, content: Media, reader: VideoReader | None) -> Cost | Ready:
        """Return what the item costs, or its error."""
        try:
            decoder = self._engine.decoder
            if reader is None and needs_process(content, decoder.num_frames):
                return Cost(0, is_unknown=True)
            cost = cost_of(decoder, decoder.kind_of(item, content), content, reader)
            check_memory(cost.total, self._in_processes.size, content.name)
        except ItemError as error:
            return _failed(item, error)
        except READ_ERRORS as error:
            return _failed(item, unreadable(content.name, error))
        return cost

    def _finish(self, task: Task, ready: Ready) -> None:
        # Drop the encoded bytes, to save memory while items wait.
        ready = replace(ready, item=replace(ready.item, media=None))
        self._release(task)
        task.pause()
        task.waited = time.monotonic() - task.submitted - task.seconds
        if ready.error is None:
            with self._lock:
                self._ready_bytes += _size_of(ready)
                self._ready_count += 1
        task.done.set_result(ready)

    def _release(self, task: Task) -> None:
        """Drop the bytes that were fetched for a task."""
        task.fetched = None
        held, task.held = task.held, 0
        if held:
            self._fetched.give(held)


def _failed(item: Item, error: ItemError) -> Ready:
    return Ready(item, None, without_frames(error))


def _size_of(ready: Ready) -> int:
    """Return the bytes of a decoded item."""
    if ready.decoded is None:
        return 0
    prepared = ready.decoded.prepared
    parts = (prepared.pixels, prepared.ids, prepared.positions, prepared.vision)
    return sum(part.nbytes for part in parts)
