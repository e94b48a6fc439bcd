"""The clients of the reward server, which reward functions accept in place of a model."""

import asyncio
import os
from collections.abc import Generator, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import KW_ONLY, dataclass, field
from numbers import Real
from threading import Event
from typing import Any

from librehps.errors import RewardServerError, UsageError
from librehps.rewards.balance import Server, Servers
from librehps.rewards.exchange import Ask, Exchange, RetryPolicy, Step, Wait, Work
from librehps.rewards.transport import (
    AsyncConnections,
    Connections,
    check_address,
    checked_token,
    closed,
)
from librehps.types import BatchItem, Item

Row = Mapping[str, Any]
# Sockets take no endless timeout.
MAX_TIMEOUT_S = 1e9


@dataclass
class _Process:
    """State of a client in one process: servers, connections, and those of each event loop."""

    servers: Servers
    connections: Connections
    of_loops: dict[asyncio.AbstractEventLoop, AsyncConnections]


@dataclass
class _Client:
    """The options of a client, and what calls of both kinds share."""

    url: str | Sequence[str]
    token: str | None = field(default=None, repr=False)
    _: KW_ONLY
    retries: int = 8
    timeout: float = 120.0
    batch_size: int = 16
    body_limit: int = 16 << 20
    parallel: int = 4
    settings: str | None = field(default=None, init=False)
    # By process: a child process must not use the connections of its parent.
    _processes: dict[int, _Process] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        if not isinstance(self.url, str):
            if not isinstance(self.url, Iterable) or isinstance(self.url, bytes):
                raise UsageError(f"url: expected text, or a list of it, got {self.url!r}")
            # A copy, which neither its owner nor reading uses up.
            self.url = list(self.url)
        urls = self._urls()
        for url in urls:
            check_address(url)
        if not urls or len({url.rstrip("/") for url in urls}) < len(urls):
            raise UsageError("url: expected one URL, or several different ones")
        self.token = checked_token(self.token)
        counts = (self.batch_size, self.body_limit, self.parallel)
        if not all(isinstance(n, int) for n in (self.retries, *counts)):
            raise UsageError("retries, batch_size, body_limit, parallel: expected integers")
        if self.retries < 0 or min(counts) <= 0:
            raise UsageError("expected retries >= 0, and batch_size, body_limit, parallel > 0")
        if not isinstance(self.timeout, Real) or not 0 < self.timeout < MAX_TIMEOUT_S:
            raise UsageError(f"timeout: expected seconds > 0, got {self.timeout!r}")

    def __getstate__(self) -> dict[str, Any]:
        # Connections and locks stay in this process.
        return {**self.__dict__, "_processes": {}}

    def _urls(self) -> list[str]:
        return [self.url] if isinstance(self.url, str) else [*self.url]

    def _process(self) -> _Process:
        """Return what the client keeps in this process."""
        found = self._processes.get(os.getpid())
        if found is None:
            servers = Servers([Server(url) for url in self._urls()])
            made = _Process(servers, Connections(self.token), {})
            # Threads that come here together must share one.
            found = self._processes.setdefault(os.getpid(), made)
        return found

    def _exchange(self) -> Exchange:
        policy = RetryPolicy(self.retries, self.timeout)
        return Exchange(self._process().servers, policy, self.body_limit, self._agree)

    def _parts(self, items: Sequence[Item | BatchItem]) -> list[list[Item]]:
        """Return the items in batches."""
        listed = [
            item if isinstance(item, Item) else Item(str(at), item.image, item.prompt, "image")
            for at, item in enumerate(items)
        ]
        return [listed[i : i + self.batch_size] for i in range(0, len(listed), self.batch_size)]

    def _agree(self, server: Server, digest: Any) -> None:
        """Raise RewardServerError for an answer of other settings than the first answer's."""
        servers = self._process().servers
        with servers.lock:
            if self.settings is None:
                self.settings = digest
        servers.check_settings(server, digest, self.settings)


@dataclass
class RewardClient(_Client):
    """A client that scores items on the reward server at `url`, with `token` if required.

    `url` may be a list of servers of equal settings: a request goes to the server with the fewest
    requests of this client; a server that is down or not ready is left out, and asked again after
    growing waits. A request to a busy or absent server is retried `retries` times, after waits that
    double from 0.5 s to 60 s, each up to 25 % longer at random. `timeout` is the limit in seconds
    for one request, from its start to the end of its answer. A request has at most `batch_size`
    items and `body_limit` bytes (a single item may be larger); a request that the server finds
    too large is split in half. At most `parallel` requests of a call run at once. `settings` is the
    digest of the server's settings after the first answer; RewardServerError is raised if the
    digest changes, since the scores of two models would be mixed. Files are sent unchanged, and
    pixels in memory (images, and clips as lists of images or arrays) as uint8 RGB. A client can be
    pickled, and used after a fork and from many threads.
    """

    def score(self, items: Sequence[Item | BatchItem]) -> list[Row | None]:
        """Return the row of each item, in order, with the default columns; None without a score.

        The scores equal those of `score_image` and `score_video`. Raises RewardServerError.
        """
        return _scored(self.rows(items))

    def rows(self, items: Sequence[Item | BatchItem]) -> list[Row]:
        """Return the row of each item, in order; an error row has status, error_type and error."""
        exchange, connections = self._exchange(), self._process().connections
        pool = ThreadPoolExecutor(self.parallel, thread_name_prefix="reward")
        try:
            with connections.call() as over:
                futures = [
                    pool.submit(_driven, exchange.rows(part), connections, over)
                    for part in self._parts(items)
                ]
                for future in wait(futures, return_when=FIRST_EXCEPTION).done:
                    # Raise a fatal error now; the other requests may wait for minutes.
                    future.result()
                return [row for future in futures for row in future.result()]
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def close(self) -> None:
        """Close the connections of this process; the client can still be used.

        Calls of other threads that are in progress raise RewardServerError.
        """
        process = self._process()
        with process.servers.lock:
            ended, process.connections = process.connections, Connections(self.token)
        ended.close()


@dataclass
class AsyncRewardClient(_Client):
    """A `RewardClient` for asyncio, with the same options: `rows` and `score` are coroutines.

    At most `parallel` requests of an event loop run at the same time. Pixels are read in threads.
    """

    parallel: int = 32

    async def score(self, items: Sequence[Item | BatchItem]) -> list[Row | None]:
        """Return the row of each item, in order, with the default columns; None without a score.

        The scores equal those of `score_image` and `score_video`. Raises RewardServerError.
        """
        return _scored(await self.rows(items))

    async def rows(self, items: Sequence[Item | BatchItem]) -> list[Row]:
        """Return the row of each item, in order; an error row has status, error_type and error."""
        exchange, connections = self._exchange(), self._connections()
        tasks = [
            asyncio.create_task(_driven_async(exchange.rows(part), connections))
            for part in self._parts(items)
        ]
        try:
            return [row for rows in await asyncio.gather(*tasks) for row in rows]
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def aclose(self) -> None:
        """Close the connections of this event loop; the client can still be used.

        Calls of other tasks that are in progress raise RewardServerError.
        """
        process = self._process()
        with process.servers.lock:
            ended = process.of_loops.pop(asyncio.get_running_loop(), None)
        if ended is not None:
            await ended.close()

    def _connections(self) -> AsyncConnections:
        process, loop = self._process(), asyncio.get_running_loop()
        with process.servers.lock:
            # Loops that ended without `aclose`; their sockets are closed with the last reference.
            for ended in [one for one in process.of_loops if one.is_closed()]:
                del process.of_loops[ended]
            if loop not in process.of_loops:
                process.of_loops[loop] = AsyncConnections(self.token, self.parallel)
            return process.of_loops[loop]


def _scored(rows: list[Row]) -> list[Row | None]:
    return [row if row["status"] == "ok" else None for row in rows]


def _driven(
    steps: Generator[Step, Any, list[Row]], connections: Connections, over: Event
) -> list[Row]:
    """Return the rows of one batch, unless `over` is set; runs in a thread."""
    result: Any = None
    try:
        while not over.is_set():
            try:
                step = steps.send(result)
            except StopIteration as done:
                rows: list[Row] = done.value
                return rows
            result = None
            match step:
                case Ask():
                    result = connections.ask(step)
                case Work():
                    result = step.call()
                case Wait():
                    over.wait(step.seconds)
    finally:
        # Its requests are no longer in flight.
        steps.close()
    if connections.is_closed:
        raise closed()
    raise RewardServerError("request cancelled: another request failed")


async def _driven_async(
    steps: Generator[Step, Any, list[Row]], connections: AsyncConnections
) -> list[Row]:
    """Return the rows of one batch."""
    result: Any = None
    async with connections.permits:
        try:
            while True:
                try:
                    step = steps.send(result)
                except StopIteration as done:
                    rows: list[Row] = done.value
                    return rows
                result = None
                match step:
                    case Ask():
                        result = await connections.ask(step)
                    case Work():
                        result = await asyncio.to_thread(step.call)
                    case Wait():
                        await connections.wait(step.seconds)
        finally:
            steps.close()
