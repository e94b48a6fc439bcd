"""The outermost middleware: checks Host, token and shutdown; counts and logs requests."""

import asyncio
import base64
import binascii
import hmac
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from librehps.errors import DeviceError
from librehps.serve.hosts import AllowedHosts, host_name
from librehps.serve.logs import log_request, record_of, start_record
from librehps.serve.metrics import Metrics
from librehps.serve.options import Access

HEALTH_PATH, METRICS_PATH = "/health", "/metrics"
# Probes of orchestrators name the server by its address, and have no token.
PROBE_PATHS = ("/livez", "/readyz")
REQUEST_ID_HEADER = b"x-request-id"
# Errors in a request may name fields of any length that the client made up.
# A refused client that still sends is read for this long and this much: closing the connection
# earlier may lose the answer.
LINGER_S, LINGER_BYTES = 2.0, 256 << 20
# Also answered during shutdown, so that monitoring can see the shutdown.
MONITORING_PATHS = (HEALTH_PATH, METRICS_PATH, *PROBE_PATHS)
BODY_PATHS = ("/score", "/compare")
KNOWN_PATHS = (*BODY_PATHS, *MONITORING_PATHS, "/rewards", "/openapi.json")


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


def unusable(error: DeviceError) -> Refused:
    """Return the answer to a request whose device has failed or stalled."""
    return Refused(503, device_error_type(error.status), str(error), {"Retry-After": "5"})


def device_error_type(status: str) -> str:
    """Return the error_type of an answer while the device has this status."""
    return f"Device{status.title()}"


def problem(
    status: int, error_type: str, error: str, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """Return the JSON answer of an error, of the same shape for every error."""
    return ProblemResponse(status, error_type, error, headers)


class ProblemResponse(JSONResponse):
    """The JSON answer of an error, which also notes the error in the request's record."""

    def __init__(
        self, status: int, error_type: str, error: str, headers: Mapping[str, str] | None
    ) -> None:
        super().__init__({"error_type": error_type, "error": error}, status, dict(headers or {}))
        self.error_type, self.error = error_type, error

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer."""
        record = record_of(scope)
        record.error_type, record.reason = self.error_type, self.error
        if record.id:
            # The answer to an unexpected error does not pass through the guard.
            self.headers["X-Request-ID"] = record.id
        await super().__call__(scope, receive, send)


@dataclass
class Gate:
    """The shutdown state: whether new requests are accepted, and how many are active."""

    active: int = 0
    draining: bool = False
    ended: bool = False
    # Why it ends, unless a signal asked for it.
    lost: DeviceError | None = None
    since: float = field(default_factory=time.monotonic)
    # Timeouts of the bodies that are being read.
    deadlines: set[asyncio.Timeout] = field(default_factory=set)

    def drain(self) -> None:
        """Stop accepting requests."""
        self.draining, self.since = True, time.monotonic()

    def refusal(self) -> Refused:
        """Return the answer to requests while the server shuts down."""
        return draining() if self.lost is None else unusable(self.lost)

    def give_up(self, lost: DeviceError | None = None) -> None:
        """Accept no request, and let every body that is being read time out at once."""
        self.draining = self.ended = True
        self.lost = lost
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

    def __post_init__(self) -> None:
        self._hosts = AllowedHosts(self.access.hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        record = start_record(scope, dict(scope["headers"]).get(REQUEST_ID_HEADER))
        is_head = scope["method"] == "HEAD"

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                record.status = message["status"]
                headers = [pair for pair in message["headers"] if pair[0] != REQUEST_ID_HEADER]
                headers.append((REQUEST_ID_HEADER, record.id.encode()))
                message = {**message, "headers": headers}
            elif is_head:
                message = {**message, "body": b""}
            await send(message)

        async def measured() -> Message:
            message = await receive()
            record.bytes_in += len(message.get("body", b""))
            return message

        # Every path of GET answers HEAD too, without the body.
        inner = {**scope, "method": "GET"} if is_head else scope
        try:
            await self._pass(inner, measured, counted)
            # No status was sent: the client disconnected during the request.
            record.status = record.status or 499
        finally:
            # After an unexpected error the answer comes later.
            record.status = record.status or 500
            path = scope["path"] if scope["path"] in KNOWN_PATHS else "other"
            self.metrics.request(path, record)
            log_request(scope, record, is_monitoring=path in MONITORING_PATHS)

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
        if b"content-length" in headers and b"transfer-encoding" in headers:
            # Two servers in a row could disagree where the request ends.
            raise Refused(
                400, "AmbiguousLength", "got both Content-Length and Transfer-Encoding; send one"
            )
        path = scope["path"]
        if path in PROBE_PATHS or (path == METRICS_PATH and self.access.open_metrics):
            return
        self._check_host(headers.get(b"host", b""))
        if path != HEALTH_PATH and self.access.token is not None:
            self._check_token(headers.get(b"authorization", b""), self.access.token)
        if self.gate.draining and path not in MONITORING_PATHS:
            raise self.gate.refusal()

    def _check_host(self, host: bytes) -> None:
        """Raise Refused for a Host that is not allowed, which stops DNS rebinding."""
        if not self._hosts.allow(host_name(host.decode("latin-1"))):
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
