"""HTTP connections to the reward servers, kept open: for threads, and for an event loop."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from ssl import PROTOCOL_TLS_CLIENT, SSLContext, create_default_context
from threading import Event
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from librehps.errors import RewardServerError, UsageError
from librehps.rewards.answers import Lost, Reply
from librehps.rewards.encoding import Body
from librehps.rewards.exchange import Ask

if TYPE_CHECKING:
    import httpx

    from librehps.rewards.deadlines import DeadlinePool

# Below the time after which servers close an idle connection (uvicorn: 5 s), since a request that
# meets the closing is lost.
KEEP_ALIVE_S = 3.0
Pool = TypeVar("Pool")


class Connections:
    """Connections for threads, a pool for each server; follows no redirect."""

    def __init__(self, token: str | None) -> None:
        self._token = token
        self._pools: dict[str, DeadlinePool] = {}
        self._calls: set[Event] = set()
        self.is_closed = False

    @contextmanager
    def call(self) -> Iterator[Event]:
        """Yield an event that is set at the end of the block, or when the connections close."""
        over = Event()
        self._calls.add(over)
        try:
            if self.is_closed:
                raise closed()
            yield over
        finally:
            over.set()
            self._calls.discard(over)

    def ask(self, ask: Ask) -> Reply | Lost:
        """Return the answer to a request, complete within its timeout; raises RewardServerError."""
        import httpcore

        from librehps.rewards.deadlines import DeadlinePool

        deadline = time.monotonic() + ask.timeout
        content = None if ask.body is None else ask.body.blocks()
        request = _request(ask, self._token, content)
        pool = _kept(self._pools, ask.server.url, DeadlinePool)
        if self.is_closed:
            # `close` may not have seen this pool.
            raise closed()
        try:
            status, headers, answer = pool.ask(request, content, deadline)
        except httpcore.TimeoutException:
            return Lost("timed out")
        except (
            httpcore.NetworkError,
            httpcore.ProtocolError,
            httpcore.ProxyError,
            httpcore.UnsupportedProtocol,
        ) as error:
            if self.is_closed:
                raise closed() from None
            return Lost(str(error) or type(error).__name__)
        names = ((name.decode("latin-1").lower(), value) for name, value in headers)
        return Reply(status, {name: value.decode("latin-1") for name, value in names}, answer)

    def close(self) -> None:
        """Close the connections for good; requests in flight raise RewardServerError."""
        self.is_closed = True
        for over in [*self._calls]:
            over.set()
        for pool in [*self._pools.values()]:
            pool.close()


class AsyncConnections:
    """Connections for one event loop of asyncio, a pool for each server; follows no redirect."""

    def __init__(self, token: str | None, parallel: int) -> None:
        self._token = token
        self._pools: dict[str, httpx.AsyncHTTPTransport] = {}
        self._closed = asyncio.Event()
        self.permits = asyncio.Semaphore(parallel)

    async def ask(self, ask: Ask) -> Reply | Lost:
        """Return the answer to a request, complete within its timeout; raises RewardServerError."""
        import httpx

        if self._closed.is_set():
            raise closed()
        request = _request(ask, self._token, None if ask.body is None else _blocks(ask.body))
        try:
            pool = _kept(self._pools, ask.server.url, httpx.AsyncHTTPTransport)
            async with asyncio.timeout(ask.timeout):
                answer = await pool.handle_async_request(request)
                try:
                    content = b"".join([block async for block in answer.aiter_raw()])
                    return _reply(answer, content)
                finally:
                    await answer.aclose()
        except httpx.TransportError as error:
            if self._closed.is_set():
                raise closed() from None
            return _lost(error)
        except TimeoutError:
            return Lost("timed out")

    async def wait(self, seconds: float) -> None:
        """Wait for so many seconds; raises RewardServerError once the connections close."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._closed.wait(), seconds)
            raise closed()

    async def close(self) -> None:
        """Close the connections for good; requests in flight raise RewardServerError."""
        self._closed.set()
        for pool in [*self._pools.values()]:
            await pool.aclose()


def closed() -> RewardServerError:
    """Return the error of a request whose connections were closed."""
    return RewardServerError("request cancelled: the client was closed during the request")


def check_address(url: str) -> None:
    """Raise UsageError for an invalid server URL, before the first request."""
    if "@" in str(url):
        # Not shown, since it may hold a password.
        raise UsageError(
            "invalid url: user and password are not supported", hint="Pass the token as token=."
        )
    try:
        parts = urlsplit(url)
        is_plain = url.isascii() and url.isprintable() and " " not in url
        # Reading `port` raises ValueError for an invalid port.
        is_whole = is_plain and bool(parts.hostname) and parts.port != 0
    except (ValueError, TypeError, AttributeError):
        is_whole = False
    if not is_whole or parts.scheme not in ("http", "https") or parts.query or parts.fragment:
        raise UsageError(
            f"invalid server url {url!r}: expected http:// or https:// and a host",
            hint="Write it like http://127.0.0.1:8000.",
        )


def checked_token(token: str | None) -> str | None:
    """Return the token for a header, None if empty; raises UsageError, which hides the token."""
    if token is None:
        return None
    plain = token.strip() if isinstance(token, str) else None
    if plain is None or not (plain.isascii() and plain.isprintable()):
        raise UsageError("invalid token: expected one line of printable ASCII")
    return plain or None


def _kept(pools: dict[str, Pool], url: str, kind: Callable[..., Pool]) -> Pool:
    """Return the pool of connections to a server, made at the first request."""
    pool = pools.get(url)
    return pool if pool is not None else pools.setdefault(url, _pool(url, kind))


def _pool(url: str, kind: Callable[..., Pool]) -> Pool:
    import httpx

    proxy = _proxy(url)
    # Without TLS no certificates are needed, which take long to load.
    is_plain = proxy is None and url.startswith("http://")
    try:
        return kind(
            # The system's certificates, where an organisation's own are too.
            verify=SSLContext(PROTOCOL_TLS_CLIENT) if is_plain else create_default_context(),
            limits=httpx.Limits(keepalive_expiry=KEEP_ALIVE_S),
            proxy=proxy,
        )
    except (ValueError, ImportError, RuntimeError, httpx.InvalidURL) as error:
        raise UsageError(f"{url}: invalid proxy in the environment: {error}") from error


def _proxy(url: str) -> str | None:
    """Return the environment's proxy for a URL; this machine itself needs none."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if host in ("localhost", "::1") or host.startswith("127.") or proxy_bypass(parts.netloc):
        return None
    proxy = getproxies().get(parts.scheme)
    return proxy if not proxy or "://" in proxy else f"http://{proxy}"


def _request(ask: Ask, token: str | None, content: Any) -> "httpx.Request":
    import httpx

    # A compressed answer would have to be limited in size.
    headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    if ask.body is not None:
        headers |= {"Content-Type": ask.body.type, "Content-Length": str(ask.body.size)}
    timeouts = dict.fromkeys(("connect", "read", "write", "pool"), ask.timeout)
    method = "GET" if ask.body is None else "POST"
    return httpx.Request(
        method, ask.url, headers=headers, content=content, extensions={"timeout": timeouts}
    )


async def _blocks(body: Body) -> AsyncIterator[memoryview]:
    for block in body.blocks():
        yield block


def _reply(answer: "httpx.Response", content: bytes) -> Reply:
    return Reply(answer.status_code, {k.lower(): v for k, v in answer.headers.items()}, content)


def _lost(error: "httpx.TransportError") -> Lost:
    import httpx

    if isinstance(error, httpx.TimeoutException):
        return Lost("timed out")
    return Lost(str(error) or type(error).__name__)
