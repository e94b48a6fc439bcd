"""The stages before the device: items are read, then decoded, several at a time, in order."""

import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Protocol, runtime_checkable

from librehps.engine.decode import Decoded, Decoder
from librehps.engine.outage import OutageWatch
from librehps.engine.reading import MAX_READS, ReadAhead
from librehps.engine.ready import Ready, ReadyItems
from librehps.engine.window_size import QUICK_S
from librehps.errors import ItemError, NetworkError
from librehps.media.media import READ_ERRORS, Media, is_remote_media, unreadable
from librehps.types import Item, Kind

# How often a wait for an item looks whether the run was stopped.
STOP_POLL_S = 0.2

_media_of = attrgetter("media")

FindPrompt = Callable[[Item, Media], Item]


@runtime_checkable
class SetFinder(Protocol):
    """A `FindPrompt` that knows of a set of local files whether it would return all unchanged."""

    def __call__(self, item: Item, content: Media) -> Item: ...

    def are_as_given(self, items: Sequence[Item]) -> bool: ...


def as_given(item: Item, content: Media) -> Item:
    """Return the item as it is."""
    return item


@dataclass(frozen=True)
class Pending:
    """Items that are being read and decoded; when all `futures` are done, all items are `ready`.

    `are_paths`: all media are paths as text, which are local. The items from the least of `ends` on
    are left for another set.
    """

    items: Sequence[Item]
    ready: ReadyItems
    futures: list["Future[None]"]
    are_paths: bool
    ends: list[int]

    @property
    def left(self) -> Sequence[Item]:
        """The items that are left for another set."""
        return self.items[min(self.ends) :] if self.ends else ()


class Stages:
    """The threads that read and decode items; `workers` is the number of those that decode.

    Remote media are read by threads of their own, so that reads overlap however few decode.
    """

    def __init__(
        self, find_prompt: FindPrompt, decoder: Decoder, workers: int, stop: threading.Event
    ) -> None:
        self._find_prompt, self._decoder, self._stop = find_prompt, decoder, stop
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="decode")
        self._workers, self._is_closed = workers, False
        self._reading = ReadAhead(max(MAX_READS, workers))
        self.outage = OutageWatch(stop)
        self._is_remote = False

    def submit(self, items: Sequence[Item], usual: int = sys.maxsize) -> Pending:
        """Start to read and decode items.

        Of local files more than `usual`, or a multiple, are decoded only where those before took
        but a moment, of other media none, so that time and memory do not grow with their number.
        """
        are_paths = set(map(type, map(_media_of, items))) == {str}
        pending = Pending(items, ReadyItems.awaited(items), [], are_paths, [])
        if are_paths:
            local = deque(range(len(items)))
        else:
            if usual < len(items):
                pending.ends.append(usual)
            there = range(min(usual, len(items)))
            remote = [at for at in there if _is_remote(items[at])]
            pending.futures.extend(self._read(pending, at) for at in remote)
            local = deque(sorted({*there}.difference(remote)))
        # One hand-over for each thread: one for each item would take longer than a cached item.
        for _ in range(min(self._workers, len(local))):
            pending.futures.append(self._pool.submit(self._decode, pending, local, usual))
        return pending

    def sets_ahead(self, size: int) -> int:
        """Return how many sets of `size` items to submit ahead of the one that is collected.

        After the first remote item enough to read as many at once as there are threads.
        """
        return -(-MAX_READS // size) if self._is_remote else 1

    def take(self, waiting: deque[Pending], usual: int) -> tuple[list[Item], ReadyItems, list[int]]:
        """Wait for the first set of `waiting`, and remove it, except items that are left.

        Return its items, the same when ready, and the indices of those that an outage took. Sets
        after it belong to it while it ends with items that an outage may have taken. After a stop
        fewer are ready.
        """
        items, ready, are_read = list[Item](), ReadyItems.awaited(()), True
        while waiting and len(ready) == len(items):
            pending = waiting.popleft()
            ready.extend(self.collect(pending))
            left = pending.left
            items += pending.items[: len(pending.items) - len(left)]
            if left:
                waiting.appendleft(self.submit(left, usual))
            are_read = are_read and pending.are_paths and not pending.ready.errors
            if not self.outage.may_begin(ready):
                break
        return items, ready, self.outage.lost(ready, are_read)

    def collect(self, pending: Pending) -> ReadyItems:
        """Wait for items; after a stop return those before the first that is not ready."""
        for future in pending.futures:
            while not future.done():
                if self._stop.is_set():
                    return pending.ready.begun()
                _wait(future)
            future.result()
        return pending.ready[: min(pending.ends)] if pending.ends else pending.ready

    def recover(
        self,
        items: Sequence[Item],
        ready: ReadyItems,
        lost: list[int],
        waiting: Iterable[Pending] = (),
    ) -> ReadyItems:
        """Return the items from the first of `lost`, which are tried again when the outage ends.

        Items of other hosts, read before or `waiting`, show whether the whole network is away.
        After a stop none. Raises OutageError.
        """
        start, attempt, answer = lost[0], 0, False
        for pending in waiting:
            for one in self.collect(pending):
                self.outage.remember(one)
        while lost and not self._stop.is_set():
            probes, before = self.outage.probes(ready, lost), answer
            witnesses = self.outage.witnesses(ready, lost)
            tried = self.collect(self.submit([*(items[at] for at in probes), *witnesses]))
            is_over = any(map(self.outage.is_over, tried[: len(probes)]))
            answer = any(not isinstance(one.error, NetworkError) for one in tried[len(probes) :])
            if is_over or (answer and not before):
                ready = self._tried(items, ready, lost)
                lost = self.outage.lost_again(ready, is_over or answer)
            if lost and not self.outage.wait(ready, lost, attempt, answer):
                break
            attempt += 1
        return ready[len(ready) if self._stop.is_set() else start :]

    def close(self) -> None:
        """End the threads; items that are not ready are dropped."""
        self._is_closed = True
        self._reading.close()
        self._pool.shutdown(cancel_futures=True)

    def _read(self, pending: Pending, at: int) -> "Future[None]":
        """Start to read the remote media of an item, which is decoded after that."""
        self._is_remote = True
        item = pending.items[at]
        content = Media(item.media, self._decoder.readers)

        def decode() -> "Future[None]":
            return self._pool.submit(self._set_ready, pending, at, content)

        return self._reading.submit(content, item.kind, decode)

    def _decode(self, pending: Pending, left: deque[int], usual: int) -> None:
        """Decode items of a set until none is `left`; the threads of a set take turns."""
        find_prompt, decoder, end = self._finder(pending), self._decoder, time.monotonic() + QUICK_S
        found = pending.ready
        items, decoded = found.items, found.decoded
        while not self._is_closed:
            try:
                at = left.popleft()
            except IndexError:
                return
            if at and not at % usual and time.monotonic() > end:
                pending.ends.append(at)
                left.clear()
                return
            # As `put`, without an object for each item.
            items[at], one, error = _decoded(items[at], find_prompt, decoder, None)
            if error is not None:
                found.errors[at] = error
            decoded[at] = one

    def _finder(self, pending: Pending) -> FindPrompt:
        """Return the function that finds the prompts of a set: quick if they are those given."""
        find = self._find_prompt
        if pending.are_paths and isinstance(find, SetFinder) and find.are_as_given(pending.items):
            return as_given
        return find

    def _set_ready(self, pending: Pending, at: int, content: Media) -> None:
        item = pending.items[at]
        pending.ready.put(at, make_ready(item, self._find_prompt, self._decoder, content))

    def _tried(self, items: Sequence[Item], ready: ReadyItems, lost: list[int]) -> ReadyItems:
        """Return the items, those at `lost` tried again; after a stop some of them are not."""
        again = self.collect(self.submit([items[at] for at in lost]))
        found = dict(zip(lost, again, strict=False))
        return ReadyItems.of(found.get(at, one) for at, one in enumerate(ready))


def _is_remote(item: Item) -> bool:
    return item.problem is None and is_remote_media(item.media)


def make_ready(
    item: Item, find_prompt: FindPrompt, decoder: Decoder, content: Media | None = None
) -> Ready:
    """Return the item with its prompt and pixels, or its error; `content` is its media."""
    return Ready(*_decoded(item, find_prompt, decoder, content))


def _decoded(
    item: Item, find_prompt: FindPrompt, decoder: Decoder, content: Media | None
) -> tuple[Item, Decoded | None, ItemError | None]:
    """Return the fields of the item's `Ready`."""
    content = content or Media(item.media, decoder.readers)
    kind = item.kind
    try:
        if item.problem is not None:
            raise item.problem
        item = find_prompt(item, content)
        kind = decoder.kind_of(item, content)
        return item, decoder.decode(item, content), None
    except ItemError as error:
        return _of_kind(item, kind), None, without_frames(error)
    except READ_ERRORS as error:
        return _of_kind(item, kind), None, unreadable(content.name, error)


def _of_kind(item: Item, kind: Kind | None) -> Item:
    return item if kind == item.kind else replace(item, kind=kind)


def without_frames(error: ItemError) -> ItemError:
    """Return the error without the frames that raised it, which would keep media in memory.

    The media of an item keep its error, so that only the garbage collector would free them.
    """
    left: list[BaseException | None] = [error]
    known = set[int]()
    while left:
        found = left.pop()
        # Causes and contexts can be a circle, as after a retry.
        if found is not None and id(found) not in known:
            known.add(id(found))
            found.__traceback__ = None
            left += [found.__cause__, found.__context__]
    return error


def _wait(future: "Future[None]") -> None:
    try:
        future.result(STOP_POLL_S)
    except TimeoutError:
        # Of this wait, or of the item, whose caller finds the future done.
        return
