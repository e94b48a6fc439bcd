"""Bodies, taken in whole under limits of size and time before the app sees them."""

import asyncio
from dataclasses import dataclass
from typing import NamedTuple

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from librehps.serve.guard import Gate, Refused, draining, refuse

# A body may take this much longer for each so many bytes that came.
PACE = 64 << 10
# Of all requests together, in bodies of the largest size.
TOGETHER = 8
# Marks that begin a value of JSON; pictures in base64 have none of them. So many are allowed for
# each item that a request may hold, since each costs time and memory before it is understood.
MARKS, MARKS_EACH = (b",", b"{", b"["), 4096


class _Gone(NamedTuple):
    """The client left before its body was whole."""


@dataclass
class BodyLimit:
    """Reads each body, of at most `max_body` bytes, and replays it to the app.

    A body that stops or trickles is cut after `read_timeout` seconds, longer by one for each 64 KiB
    that came; all are once the gate gives up. `max_marks` bounds how many values JSON may begin.
    `held` counts the bytes of all bodies whose requests are not answered.
    """

    app: ASGIApp
    gate: Gate
    max_body: int
    max_marks: int
    read_timeout: float
    held: int = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        taken = _Taken(self)
        try:
            _check_header(scope, self.max_body)
            body = await taken.read(receive)
            _check_marks(body, self.max_marks)
        except Refused as refused:
            taken.release()
            await refuse(refused, scope, receive, send)
            return
        if isinstance(body, _Gone):
            taken.release()
            return
        parts = [body]
        del body

        async def replay() -> Message:
            if parts:
                return {"type": "http.request", "body": parts.pop(), "more_body": False}
            return await receive()

        try:
            await self.app(scope, replay, send)
        finally:
            taken.release()


class _Taken:
    """What one request holds of the bytes that all may hold."""

    def __init__(self, limit: BodyLimit) -> None:
        self._limit, self._bytes = limit, 0

    async def read(self, receive: Receive) -> bytes | _Gone:
        """The whole body; raises Refused."""
        blocks: list[bytes] = []
        loop = asyncio.get_running_loop()
        begun = loop.time()
        try:
            async with asyncio.timeout_at(begun + self._limit.read_timeout) as deadline:
                self._limit.gate.deadlines.add(deadline)
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return _Gone()
                    block = message.get("body", b"")
                    self._take(len(block))
                    blocks.append(block)
                    if not message.get("more_body", False):
                        return b"".join(blocks)
                    allowance = self._limit.read_timeout + self._bytes / PACE
                    deadline.reschedule(begun + allowance)
        except TimeoutError:
            if self._limit.gate.ended:
                raise draining() from None
            seconds = f"{self._limit.read_timeout:g} s"
            raise Refused(408, "SlowBody", f"the body did not come within {seconds}") from None
        finally:
            self._limit.gate.deadlines.discard(deadline)

    def _take(self, size: int) -> None:
        self._bytes += size
        self._limit.held += size
        if self._bytes > self._limit.max_body:
            raise too_large(self._limit.max_body)
        if self._limit.held > TOGETHER * self._limit.max_body:
            raise Refused(429, "Busy", "too many bytes wait already", {"Retry-After": "1"})

    def release(self) -> None:
        self._limit.held -= self._bytes
        self._bytes = 0


def too_large(max_body: int) -> Refused:
    return Refused(413, "BodyTooLarge", f"a body is of {max_body} bytes at most")


def _check_marks(body: bytes | _Gone, most: int) -> None:
    """Raises Refused for JSON that would take long to read, whatever it means."""
    if isinstance(body, bytes) and sum(map(body.count, MARKS)) > most:
        raise Refused(413, "TooManyValues", f"the JSON holds more than {most} values")


def _check_header(scope: Scope, max_body: int) -> None:
    """Raises Refused for what need not be read to be refused."""
    headers: dict[bytes, bytes] = dict(scope["headers"])
    if headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise Refused(415, "Compressed", "compressed bodies are not read")
    # A page in a browser may send a form anywhere without being asked, but no JSON.
    kind = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    if scope["method"] == "POST" and kind != b"application/json":
        raise Refused(415, "NotJson", "the Content-Type must be application/json")
    length = headers.get(b"content-length", b"0")
    if length.isdigit() and int(length[:20]) > max_body:
        raise too_large(max_body)
