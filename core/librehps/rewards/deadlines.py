"""Connections for threads on which each request has one deadline, however slowly bytes come."""

import socket
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from ssl import SSLContext
from typing import Any, cast

import httpcore
import httpx

# A write has a timeout for each part that the server takes: large bodies are written in parts.
WRITE_BYTES = 256 << 10


@dataclass
class Clock:
    """The deadline of the request that this thread makes; `is_stopped` ends those of all threads.

    The library gives a timeout to each read and write, so that a server which sends a byte now and
    then would hold a request for ever.
    """

    is_stopped: bool = False
    _thread: threading.local = field(default_factory=threading.local)

    @contextmanager
    def until(self, deadline: float) -> Iterator[None]:
        """Let all reads and writes of this thread in the block end at the deadline."""
        self._thread.deadline = deadline
        try:
            yield
        finally:
            del self._thread.deadline

    def left(self) -> float:
        """Return the seconds until the deadline; raises httpcore.TimeoutException after it."""
        if self.is_stopped:
            raise httpcore.ReadError("closed")
        seconds: float = self._thread.deadline - time.monotonic()
        if seconds <= 0:
            raise httpcore.ReadTimeout
        return seconds


@dataclass
class _Stream(httpcore.NetworkStream):
    """A stream whose reads and writes end at the deadline of the clock."""

    inner: httpcore.NetworkStream
    clock: Clock

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self.inner.read(max_bytes, self.clock.left())

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        whole = memoryview(buffer)
        for at in range(0, len(whole), WRITE_BYTES):
            part: Any = whole[at : at + WRITE_BYTES]
            self.inner.write(part, self.clock.left())

    def close(self) -> None:
        # Closing alone does not wake up a thread that reads.
        with suppress(OSError):
            self.inner.get_extra_info("socket").shutdown(socket.SHUT_RDWR)
        self.inner.close()

    def start_tls(
        self,
        ssl_context: SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        inner = self.inner.start_tls(ssl_context, server_hostname, self.clock.left())
        return _Stream(inner, self.clock)

    def get_extra_info(self, info: str) -> Any:
        return self.inner.get_extra_info(info)


@dataclass
class _Backend(httpcore.NetworkBackend):
    """A backend of streams that end at the deadline of the clock."""

    clock: Clock
    inner: httpcore.SyncBackend = field(default_factory=httpcore.SyncBackend)

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        left = self.clock.left()
        stream = self.inner.connect_tcp(host, port, left, local_address, socket_options)
        return _Stream(stream, self.clock)


class DeadlinePool:
    """A pool of connections to one server, directly or through a proxy."""

    def __init__(self, verify: SSLContext, limits: httpx.Limits, proxy: str | None) -> None:
        self._clock = Clock()
        options: dict[str, Any] = {
            "ssl_context": verify,
            "max_connections": limits.max_connections,
            "keepalive_expiry": limits.keepalive_expiry,
            "network_backend": _Backend(self._clock),
        }
        self._pool = httpcore.ConnectionPool(**options) if proxy is None else _via(proxy, options)

    def ask(
        self, request: httpx.Request, content: Iterable[memoryview] | None, deadline: float
    ) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        """Return status, headers and content of an answer; raises errors of httpcore."""
        url = request.url
        raw = httpcore.Request(
            request.method,
            httpcore.URL(
                scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path
            ),
            headers=request.headers.raw,
            content=cast(Iterable[bytes] | None, content),
            extensions=request.extensions,
        )
        with self._clock.until(deadline):
            answer = self._pool.handle_request(raw)
            try:
                return answer.status, answer.headers, answer.read()
            finally:
                answer.close()

    def close(self) -> None:
        """Close the connections for good; requests in flight fail."""
        self._clock.is_stopped = True
        self._pool.close()


def _via(proxy: str, options: dict[str, Any]) -> httpcore.ConnectionPool:
    """Return a pool behind a proxy; raises ValueError, RuntimeError and httpx.InvalidURL."""
    given = httpx.Proxy(proxy)
    url = httpcore.URL(
        scheme=given.url.raw_scheme, host=given.url.raw_host, port=given.url.port, target=b"/"
    )
    is_socks = given.url.scheme.startswith("socks")
    kind: type[Any] = httpcore.SOCKSProxy if is_socks else httpcore.HTTPProxy
    pool: httpcore.ConnectionPool = kind(url, given.raw_auth, **options)
    return pool
