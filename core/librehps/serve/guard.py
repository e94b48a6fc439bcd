"""The outermost middleware: checks Host, token and shutdown, and counts requests."""

import asyncio
import base64
import binascii
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

HEALTH_PATH = "/health"
# Errors in a request may name fields of any length that the client made up.
MAX_REASON_CHARS = 500
# A refused client that still sends is read for this long and this much: closing the connection
# earlier may lose the answer.
LINGER_S, LINGER_BYTES = 2.0, 256 << 20
# Also answered during shutdown, so that monitoring can see the shutdown.
MONITORING_PATHS = (HEALTH_PATH, "/metrics")
KNOWN_PATHS = ("/score", "/compare", *MONITORING_PATHS, "/rewards", "/openapi.json")


class Refused(HTTPException):
    """An error answer: an HTTP status, an error_type and a reason."""

    def __init__(
        self, status: int, error_type: str, error: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(status, error, dict(headers or {}))
        self.error_type = error_type

    def response(self) -> JSONResponse:
        return problem(self.status_code, self.error_type, self.detail, self.headers)


def draining() -> Refused:
    return Refused(503, "Draining", "the server is shutting down", {"Connection": "close"})


def problem(
    status: int, error_type: str, error: str, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """Return the JSON answer of an error, of the same shape for every error."""
    content = {"error_type": error_type, "error": error}
    return JSONResponse(content, status, dict(headers or {}))


@dataclass
class Gate:
    """The shutdown state: whether new requests are accepted, and how many are active."""

    active: int = 0
    draining: bool = False
    ended: bool = False
    since: float = field(default_factory=time.monotonic)
    # Timeouts of the bodies that are being read.
    deadlines: set[asyncio.Timeout] = field(default_factory=set)

    def drain(self) -> None:
        """Stop accepting requests."""
        self.draining, self.since = True, time.monotonic()

    def give_up(self) -> None:
        """Let every body that is being read time out at once."""
        self.ended = True
        for deadline in self.deadlines:
            deadline.reschedule(0.0)

    @property
    def drained_for(self) -> float:
        """The seconds since draining started."""
        return time.monotonic() - self.since


@dataclass
class Guard:
    """The middleware that counts every request and refuses those that are not allowed."""

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
            # No status was sent: the client disconnected during the request.
            status = status or 499
        finally:
            path = scope["path"] if scope["path"] in KNOWN_PATHS else "other"
            self.metrics.request(path, status or 500, time.monotonic() - started)

    async def _pass(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            self.check(scope)
        except Refused as refused:
            await refuse(refused, scope, receive, send)
            return
        # Shutdown does not wait for monitoring requests.
        counts = scope["path"] not in MONITORING_PATHS
        self.gate.active += counts
        try:
            await self.app(scope, receive, send)
        finally:
            self.gate.active -= counts

    def check(self, scope: Scope) -> None:
        """Raise Refused for a foreign Host, a wrong token, or a server that is shutting down."""
        headers: dict[bytes, bytes] = dict(scope["headers"])
        self._check_host(headers.get(b"host", b""))
        if scope["path"] != HEALTH_PATH and self.access.token is not None:
            self._check_token(headers.get(b"authorization", b""), self.access.token)
        if self.gate.draining and scope["path"] not in MONITORING_PATHS:
            raise draining()

    def _check_host(self, host: bytes) -> None:
        """Raise Refused for a Host that is not allowed, which stops DNS rebinding."""
        if host_name(host.decode("latin-1")) not in self.access.hosts:
            raise Refused(
                421, "ForeignHost", "Host header not allowed (the server's --allowed-host)"
            )

    def _check_token(self, given: bytes, token: str) -> None:
        # In constant time, whatever was given.
        if not hmac.compare_digest(_token_in(given), token.encode()):
            wanted = {"WWW-Authenticate": "Bearer"}
            raise Refused(
                401,
                "Unauthorized",
                "missing or wrong token: send Authorization: Bearer TOKEN",
                wanted,
            )


def _token_in(header: bytes) -> bytes:
    """Return the token of an Authorization header (of Basic: the password); empty if none.

    A client without an option for a token sends the one in a URL, http://any:TOKEN@host, as Basic.
    """
    scheme, _, word = header.partition(b" ")
    if scheme.lower() == b"bearer":
        return word.strip()
    if scheme.lower() != b"basic":
        return b""
    try:
        return base64.b64decode(word.strip(), validate=True).partition(b":")[2]
    except binascii.Error:
        return b""


def host_name(header: str) -> str:
    """Return the name in a Host header in lower case, without its port."""
    name = header.strip().lower()
    if name.startswith("["):
        return name[1:].partition("]")[0]
    name, _, port = name.partition(":")
    return name.rstrip(".") if port.isdigit() or not port else ""


def explained(error: Any) -> str:
    """Return the first three validation errors as text, without values, which may be images."""
    faults = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()[:3]]
    return printable("; ".join(faults))[:MAX_REASON_CHARS] or "invalid request"


async def refuse(refused: Refused, scope: Scope, receive: Receive, send: Send) -> None:
    """Send the refusal at once, then read and drop the rest of the body for a while."""
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
        async with asyncio.timeout(LINGER_S):
            while left > 0:
                message = await receive()
                left -= len(message.get("body", b""))
                if message["type"] == "http.disconnect" or not message.get("more_body", False):
                    return
    except TimeoutError:
        return
