"""Middleware that reads each request body whole, within limits of size and time."""

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from librehps.serve.body_pace import MIN_BYTES_PER_S, Arrival, Pace
from librehps.serve.byte_room import ByteRoom
from librehps.serve.guard import Gate, Refused, refuse
from librehps.serve.logs import RequestRecord, record_of

# A body gets one more second for each of these blocks received.
BYTES_PER_EXTRA_S = 64 << 10
# Bodies of the largest size that all requests together may hold in memory.
MAX_HELD_BODIES = 8
# Bodies of this size and more wait for memory, of which that of one of these bodies is left for
# small bodies, and for bodies of unknown size.
MIN_LARGE_BYTES = 1 << 20
# Bodies on the paths that need none, some of them without a token.
MAX_OTHER_BYTES = 64 << 10
# Characters that start a JSON value and never occur in base64. Their number is limited because
# each value costs time and memory before the request can be checked.
JSON_MARKS, MAX_MARKS_PER_ITEM, MAX_MARKS = b",{[", 4096, 1 << 19
JSON_TYPE = "application/json"


class _Disconnected(NamedTuple):
    """A marker: the client disconnected before its body was complete."""


@dataclass
class BodyLimit:
    """The middleware that reads each body, of at most `max_body` bytes, and replays it to the app.

    A slow body times out after `read_timeout` seconds, plus one second for each 64 KiB received;
    all bodies time out once the gate gives up. `paths` take bodies, of the media types `types`
    (None: every path of a POST does); the other paths take at most MAX_OTHER_BYTES. `max_marks`
    limits the number of JSON values (None: the app checks it).
    `room` has the bytes of all bodies whose requests are not answered yet. A large body waits for
    room, unread, for at most `wait_timeout` seconds; meanwhile `pace` refuses slow large bodies.
    `retry_after` returns the seconds after which a refused client may try again.
    """

    app: ASGIApp
    gate: Gate
    max_body: int
    read_timeout: float
    max_marks: int | None = None
    types: tuple[str, ...] = (JSON_TYPE,)
    paths: Collection[str] | None = None
    wait_timeout: float = 60.0
    retry_after: Callable[[], int] = lambda: 1
    room: ByteRoom = field(init=False)
    pace: Pace = field(default_factory=Pace)

    def __post_init__(self) -> None:
        self.room = ByteRoom(MAX_HELD_BODIES * self.max_body, spare=self.max_body)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        most = self.max_body if self._takes(scope) else min(self.max_body, MAX_OTHER_BYTES)
        taken = _HeldBody(self, most)
        try:
            await self._pass(taken, scope, receive, send)
        except Refused as refused:
            taken.release()
            await refuse(refused, scope, receive, send)
        finally:
            taken.release()

    def _takes(self, scope: Scope) -> bool:
        """Return whether the request is one whose body the app reads."""
        return scope["method"] == "POST" and (self.paths is None or scope["path"] in self.paths)

    async def _pass(self, taken: "_HeldBody", scope: Scope, receive: Receive, send: Send) -> None:
        """Call the app with the whole body; raises Refused before the app is called."""
        _check_header(scope, self.types if self._takes(scope) else None)
        await taken.wait_for_room(_declared_size(scope), record_of(scope))
        body = await taken.read(receive)
        if isinstance(body, _Disconnected):
            return
        if self.max_marks is not None:
            check_marks(body, self.max_marks)
        parts = [body]
        del body

        async def replay() -> Message:
            if parts:
                return {"type": "http.request", "body": parts.pop(), "more_body": False}
            return await receive()

        await self.app(scope, replay, send)


class _HeldBody:
    """The body bytes of one request, at most `most`, taken from the room until released."""

    def __init__(self, limit: BodyLimit, most: int) -> None:
        self._limit, self._most = limit, most
        self._taken = 0

    async def wait_for_room(self, size: int, record: RequestRecord) -> None:
        """Wait, if the body is large, until there is memory for all of it; raises Refused.

        Meanwhile nothing is read, so that the client waits too. `record` notes the time.
        """
        if size > self._most:
            raise too_large(self._most)
        if size < MIN_LARGE_BYTES:
            return
        gate = self._limit.gate
        try:
            async with asyncio.timeout(self._limit.wait_timeout) as deadline:
                gate.deadlines.add(deadline)
                with self._limit.pace.enforced():
                    await self._limit.room.take(size)
        except TimeoutError:
            raise (gate.refusal() if gate.ended else self._busy()) from None
        finally:
            gate.deadlines.discard(deadline)
        self._taken, record.waited = size, record.seconds

    async def read(self, receive: Receive) -> bytes | _Disconnected:
        """Return the whole body, or _Disconnected if the client disconnected; raises Refused."""
        blocks: list[bytes] = []
        limit, loop = self._limit, asyncio.get_running_loop()
        started = loop.time()
        try:
            async with asyncio.timeout_at(started + limit.read_timeout) as deadline:
                limit.gate.deadlines.add(deadline)
                arrival = Arrival(deadline, started)
                if self._taken:
                    limit.pace.arrivals.add(arrival)
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return _Disconnected()
                    block = message.get("body", b"")
                    self._count(arrival, len(block))
                    blocks.append(block)
                    if not message.get("more_body", False):
                        return b"".join(blocks)
                    allowance = limit.read_timeout + arrival.size / BYTES_PER_EXTRA_S
                    deadline.reschedule(started + allowance)
        except TimeoutError:
            if limit.gate.ended:
                raise limit.gate.refusal() from None
            raise self._slow(arrival) from None
        finally:
            limit.gate.deadlines.discard(deadline)
            limit.pace.arrivals.discard(arrival)

    def _slow(self, arrival: Arrival) -> Refused:
        reason = f"timeout: body not received within {self._limit.read_timeout:g} s"
        if arrival.is_too_slow:
            reason = (
                f"body too slow: others wait for its memory (at least {MIN_BYTES_PER_S} bytes/s)"
            )
        return Refused(408, "SlowBody", reason)

    def _count(self, arrival: Arrival, size: int) -> None:
        arrival.size += size
        if arrival.size > self._most:
            raise too_large(self._most)
        more = arrival.size - self._taken
        if more > 0:
            if not self._limit.room.take_now(more):
                raise self._busy()
            self._taken += more
            if self._taken >= MIN_LARGE_BYTES:
                self._limit.pace.arrivals.add(arrival)

    def _busy(self) -> Refused:
        return Refused(
            429,
            "Busy",
            "too many request bytes in memory; retry later",
            {"Retry-After": str(self._limit.retry_after())},
        )

    def release(self) -> None:
        self._limit.room.give(self._taken)
        self._taken = 0


def too_large(max_body: int) -> Refused:
    return Refused(413, "BodyTooLarge", f"body too large (at most {max_body} bytes)")


def check_marks(content: bytes, most: int) -> None:
    """Raise Refused for JSON with more than `most` values, which is slow to parse."""
    if len(content) <= most:
        return
    codes = np.frombuffer(content, np.uint8)
    if sum(int(np.count_nonzero(codes == mark)) for mark in JSON_MARKS) > most:
        raise Refused(413, "TooManyValues", f"too many JSON values (at most {most})")


def _check_header(scope: Scope, types: tuple[str, ...] | None) -> None:
    """Raise Refused for headers that are invalid, before the body is read.

    `types` are the media types of which the body must be one, None for a body of no use.
    """
    headers: dict[bytes, bytes] = dict(scope["headers"])
    if headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise Refused(415, "Compressed", "unsupported Content-Encoding: send the body uncompressed")
    # Browsers let any page post a form to this server, but none of these types.
    kind = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    if types is not None and kind.decode("latin-1") not in types:
        expected = " or ".join(types)
        raise Refused(415, "NotJson", f"unsupported Content-Type: expected {expected}")


def _declared_size(scope: Scope) -> int:
    """Return the Content-Length, 0 if there is none or it is invalid."""
    length = dict(scope["headers"]).get(b"content-length", b"0")
    return int(length[:20]) if length.isdigit() else 0
