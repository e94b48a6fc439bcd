"""What stands before the app: who may ask, whether it still takes requests, and counts."""

import asyncio
import hmac
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from librehps.files import printable
from librehps.serve.metrics import Metrics
from librehps.serve.options import Access

HEALTH = "/health"
# Of a fault in a request, which may name fields that the client made up.
LONGEST_REASON = 500
# A client that is told of an error while it still sends is listened to for so long, and so much,
# since a connection that is closed on it may lose the answer.
LINGER_SECONDS, LINGER_BYTES = 2.0, 256 << 20
# Also answered at the end, so that whoever watches can see it.
WATCHED = (HEALTH, "/metrics")
PATHS = ("/score", "/compare", *WATCHED, "/rewards", "/openapi.json")


class Refused(HTTPException):
    """A request that gets no answer but a status and a reason."""

    def __init__(
        self, status: int, error_type: str, error: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(status, error, dict(headers or {}))
        self.error_type = error_type

    def response(self) -> JSONResponse:
        return problem(self.status_code, self.error_type, self.detail, self.headers)


def draining() -> Refused:
    return Refused(503, "Draining", "the server is ending", {"Connection": "close"})


def problem(
    status: int, error_type: str, error: str, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """A reason, in the one shape that every error has."""
    content = {"error_type": error_type, "error": error}
    return JSONResponse(content, status, dict(headers or {}))


@dataclass
class Gate:
    """Whether new requests are taken, and how many are in."""

    active: int = 0
    draining: bool = False
    ended: bool = False
    since: float = field(default_factory=time.monotonic)
    # Of the bodies that are being read.
    deadlines: set[asyncio.Timeout] = field(default_factory=set)

    def drain(self) -> None:
        """Take no more."""
        self.draining, self.since = True, time.monotonic()

    def give_up(self) -> None:
        """Wait for no body any more."""
        self.ended = True
        for deadline in self.deadlines:
            deadline.reschedule(0.0)

    @property
    def drained_for(self) -> float:
        """Seconds since it began to drain."""
        return time.monotonic() - self.since


@dataclass
class Guard:
    """The outermost layer: counts every request and lets in those that are allowed."""

    app: ASGIApp
    access: Access
    gate: Gate
    metrics: Metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, status = time.monotonic(), 0

        async def counted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._pass(scope, receive, counted)
            # Whoever left in the middle of a request was sent nothing.
            status = status or 499
        finally:
            path = scope["path"] if scope["path"] in PATHS else "other"
            self.metrics.request(path, status or 500, time.monotonic() - started)

    async def _pass(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            self.check(scope)
        except Refused as refused:
            await refuse(refused, scope, receive, send)
            return
        # The end need not wait for who only watches it.
        counts = scope["path"] not in WATCHED
        self.gate.active += counts
        try:
            await self.app(scope, receive, send)
        finally:
            self.gate.active -= counts

    def check(self, scope: Scope) -> None:
        """Raises Refused."""
        headers: dict[bytes, bytes] = dict(scope["headers"])
        self._check_host(headers.get(b"host", b""))
        if scope["path"] != HEALTH and self.access.token is not None:
            self._check_token(headers.get(b"authorization", b""), self.access.token)
        if self.gate.draining and scope["path"] not in WATCHED:
            raise draining()

    def _check_host(self, host: bytes) -> None:
        """A page of another name that was made to resolve to this server is turned away."""
        if host_name(host.decode("latin-1")) not in self.access.hosts:
            raise Refused(421, "ForeignHost", "the Host header names no host of this server")

    def _check_token(self, given: bytes, token: str) -> None:
        scheme, _, word = given.partition(b" ")
        # Both at all times, and in a time that says nothing of how much was right.
        matches = hmac.compare_digest(word.strip(), token.encode())
        if scheme.lower() != b"bearer" or not matches:
            wanted = {"WWW-Authenticate": "Bearer"}
            raise Refused(401, "Unauthorized", "a bearer token is needed", wanted)


def host_name(header: str) -> str:
    """The name in a Host header, without its port, in lower case."""
    name = header.strip().lower()
    if name.startswith("["):
        return name[1:].partition("]")[0]
    name, _, port = name.partition(":")
    return name.rstrip(".") if port.isdigit() or not port else ""


def explained(error: Any) -> str:
    """The first few of a request's faults, without the values, which may be pictures."""
    faults = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()[:3]]
    return printable("; ".join(faults))[:LONGEST_REASON] or "not as documented"


async def refuse(refused: Refused, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer at once, and drop what still comes, for a while."""
    response = refused.response()
    response.headers["Connection"] = "close"

    async def held_open(message: Message) -> None:
        if message["type"] == "http.response.body":
            message = {**message, "more_body": True}
        await send(message)

    await response(scope, receive, held_open)
    if refused.status_code != 408:
        await _discard(receive)
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _discard(receive: Receive) -> None:
    left = LINGER_BYTES
    try:
        async with asyncio.timeout(LINGER_SECONDS):
            while left > 0:
                message = await receive()
                left -= len(message.get("body", b""))
                if message["type"] == "http.disconnect" or not message.get("more_body", False):
                    return
    except TimeoutError:
        return
