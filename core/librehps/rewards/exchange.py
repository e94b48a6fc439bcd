"""Score a batch on the servers without input or output of its own, for any transport.

The generators here yield what is to be done (a request, a wait, or work for a processor) and get
the result sent in, so that threads and an event loop run the same code.
"""

import logging
import random
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from librehps.errors import MediaError, RewardServerError, UnsupportedMediaError
from librehps.rewards.answers import (
    DOWN_STATUSES,
    RETRY_STATUSES,
    UNSUPPORTED_STATUS,
    Lost,
    NoFramesError,
    Reply,
    Row,
    TooLargeError,
    read_answer,
    read_rows,
    refusal,
    retry_after,
)
from librehps.rewards.balance import PROBE_TIMEOUT_S, Server, Servers
from librehps.rewards.encoding import (
    BINARY_TYPE,
    Body,
    Encoder,
    Entry,
    binary_body,
    error_row,
    json_body,
)
from librehps.types import Item

log = logging.getLogger("librehps")

# The first wait, which doubles, and the longest, also if the server asks for more.
FIRST_WAIT_S, MAX_WAIT_S = 0.5, 60.0
# Of several servers one may come back while a request waits for another.
MAX_NAP_S = 1.0


@dataclass(frozen=True)
class Ask:
    """A request to send, of which Reply or Lost is the result; without a body, a GET."""

    server: Server
    path: str
    timeout: float
    body: Body | None = None

    @property
    def url(self) -> str:
        """The URL of the request."""
        return f"{self.server.url.rstrip('/')}{self.path}"


@dataclass(frozen=True)
class Wait:
    """A wait in seconds."""

    seconds: float


@dataclass(frozen=True)
class Work:
    """A call that takes a processor for a while; its result is sent in."""

    call: Callable[[], Any]


Step = Ask | Wait | Work


@dataclass(frozen=True)
class RetryPolicy:
    """The retry policy: number of retries, and the timeout of an answer in seconds."""

    retries: int
    timeout: float

    def wait(self, attempt: int, requested: float | None) -> float:
        """Return the seconds until the next try: doubled each time, at least `requested`.

        A random part of up to 25 % keeps clients that were refused together from retrying together.
        """
        seconds: float = max(FIRST_WAIT_S * 2.0 ** min(attempt, 16), requested or 0.0)
        return min(seconds, MAX_WAIT_S) * random.uniform(1, 1.25)


@dataclass(frozen=True)
class Exchange:
    """Options that the requests of one call share; `agree` checks an answer's settings."""

    servers: Servers
    policy: RetryPolicy
    body_limit: int
    agree: Callable[[Server, Any], None]

    def rows(self, items: Sequence[Item]) -> Generator[Step, Any, list[Row]]:
        """Return the row of each item, in order; raises RewardServerError."""
        encoder = Encoder(items, self.body_limit)
        rows: dict[int, Row] = {}
        while group := (yield Work(encoder.next_group)):
            rows |= yield from self._sent(group)
        rows |= encoder.failed
        return [{**rows[at], "id": item.id} for at, item in enumerate(items)]

    def _sent(self, group: list[Entry]) -> Generator[Step, Any, dict[int, Row]]:
        """Return rows by index; a group that the server finds too large is split in half."""
        try:
            rows = yield from _Request(self, group).rows()
        except TooLargeError as error:
            if len(group) == 1:
                return {group[0].at: error_row(MediaError(str(error)))}
            half = len(group) // 2
            first = yield from self._sent(group[:half])
            return first | (yield from self._sent(group[half:]))
        except NoFramesError:
            found = {entry.at: _NO_FRAMES for entry in group if entry.has_frames}
            rest = [entry for entry in group if not entry.has_frames]
            return found | (yield from self._sent(rest)) if rest else found
        return dict(zip((entry.at for entry in group), rows, strict=True))


_NO_FRAMES: Row = error_row(
    UnsupportedMediaError(
        "unsupported video in memory: this server is too old to read frames: give it a video file "
        "(path or bytes), or update the server"
    )
)


@dataclass
class _Request:
    """A request and its tries.

    `failures` are its failed tries, and `known` the failures of each server before it. A server
    that is left out is tried by one request for all.
    """

    shared: Exchange
    group: list[Entry]
    failures: dict[Server, int] = field(default_factory=dict)
    not_before: dict[Server, float] = field(default_factory=dict)
    tried: set[Server] = field(default_factory=set)
    known: dict[Server, int] = field(init=False)

    def __post_init__(self) -> None:
        self.known = {server: server.failures for server in self.shared.servers.all}

    def rows(self) -> Generator[Step, Any, list[Row]]:
        """Return the rows of an answer; raises RewardServerError after the last try."""
        servers = self.shared.servers
        while True:
            server = servers.pick(self.not_before, self.tried)
            if server is None:
                yield self._wait()
                continue
            started = time.monotonic()
            try:
                reply = yield from self._asked(server)
            finally:
                servers.release(server)
            if reply is None:
                continue
            if isinstance(reply, Lost) or not reply.is_ok:
                self._failed(server, reply, started)
                continue
            servers.succeeded(server)
            answer = read_answer(reply.content, server.url)
            self.shared.agree(server, answer.get("settings"))
            return read_rows(answer, self.group, server.url)

    def _asked(self, server: Server) -> Generator[Step, Any, Reply | Lost | None]:
        """Return the answer; None if the same server must be asked in another form."""
        if self.shared.servers.is_suspect(server):
            probe = yield Ask(server, "/readyz", min(PROBE_TIMEOUT_S, self.shared.policy.timeout))
            # Any other status: an older server, without this path.
            if isinstance(probe, Lost) or probe.status in RETRY_STATUSES:
                found: Reply | Lost = probe
                return found
            self.shared.servers.succeeded(server)
        body = yield from self._body(server)
        reply: Reply | Lost = yield Ask(server, "/score", self.shared.policy.timeout, body)
        is_old = isinstance(reply, Reply) and reply.status == UNSUPPORTED_STATUS
        if is_old and body.type == BINARY_TYPE:
            if server.reads_binary:
                log.warning("%s: an older server, which reads JSON only: slower", server.url)
            server.reads_binary = False
            return None
        return reply

    def _body(self, server: Server) -> Generator[Step, Any, Body]:
        """Return the body for a server; raises NoFramesError or TooLargeError as it would."""
        if server.reads_binary:
            return binary_body(self.group)
        if not server.reads_frames and self._has_frames(server):
            raise NoFramesError(f"{server.url}: reads no frames")
        body: Body = yield Work(partial(json_body, self.group))
        if len(self.group) > 1 and body.size > self.shared.body_limit:
            raise TooLargeError(f"{server.url}: {body.size} bytes of JSON")
        return body

    def _failed(self, server: Server, reply: Reply | Lost, started: float) -> None:
        """Keep the server from this request for a while; raises an error worth no retry."""
        servers = self.shared.servers
        server.problem = str(self._problem(server, reply))
        is_down = isinstance(reply, Lost) or reply.status in DOWN_STATUSES
        requested = None if isinstance(reply, Lost) else retry_after(reply.headers)
        own = self.failures.get(server, 0)
        self.failures[server] = own + 1
        self.tried.add(server)
        known = server.failures if is_down and servers.are_many else 0
        until = time.monotonic() + self.shared.policy.wait(max(own, known), requested)
        self.not_before[server] = until
        if is_down:
            servers.failed(server, started, until)

    def _tries(self, server: Server) -> int:
        """Return the failed tries on a server during this request, also those of other requests."""
        own = self.failures.get(server, 0)
        if not self.shared.servers.are_many:
            return own
        return max(own, server.failures - self.known[server])

    def _problem(self, server: Server, reply: Reply | Lost) -> RewardServerError:
        """Return the error of a failed try that is worth another; raises any other error."""
        if isinstance(reply, Lost):
            return RewardServerError(f"{server.url}: cannot reach the server: {reply.reason}")
        try:
            return refusal(reply, server.url, self._has_frames(server))
        except NoFramesError:
            server.reads_frames = False
            raise

    def _has_frames(self, server: Server) -> bool:
        """Return whether the server gets frames in JSON."""
        return not server.reads_binary and any(entry.has_frames for entry in self.group)

    def _wait(self) -> Wait:
        """Return the wait before the next try; raises the last problem if no retry is left."""
        servers = self.shared.servers
        seconds = servers.wait(self.not_before)
        tries = {server: self._tries(server) for server in servers.all}
        worst = max(servers.all, key=lambda one: tries[one])
        if tries[worst] > self.shared.policy.retries:
            raise RewardServerError(
                worst.problem,
                hint=f"Tried {sum(tries.values())} times. "
                "Check that the server is up: GET /health.",
            )
        for server in self.tried:
            log.warning("%s; retry in %.1f s", server.problem, seconds)
        self.tried.clear()
        return Wait(min(seconds, MAX_NAP_S) if servers.are_many else seconds)
