"""Files at http(s) URLs: read whole or by range, over connections that are kept for the next."""

import os
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, BinaryIO

from librehps.errors import StorageError
from librehps.storage.faults import (
    changed_fault,
    fault,
    network_fault,
    retry_after,
    status_fault,
)
from librehps.storage.limits import limits
from librehps.storage.places import shown
from librehps.storage.retry import now

if TYPE_CHECKING:
    import httpx

# Idle connections of a client; a client is used by one thread at a time.
MAX_IDLE_CONNECTIONS = 4
BLOCK_BYTES = 1 << 18
OK, PART, NO_RANGE = 200, 206, 416

_loading = threading.Lock()


class WebFile:
    """The answer to a GET request: a file, or from `start` a part of a file of `total` bytes."""

    def __init__(self, url: str, answer: "httpx.Response", end: float) -> None:
        self.url, self._answer, self._end = url, answer, end
        self.is_part = answer.status_code == PART
        headers = answer.headers
        self.stamp = str(headers.get("etag") or headers.get("last-modified") or "")
        self.total = _number(headers.get("content-length"))
        # The first byte of a part, None where the server does not say.
        span = headers.get("content-range", "").removeprefix("bytes ")
        self.first = _number(span.partition("-")[0])
        if self.is_part or answer.status_code == NO_RANGE:
            self.total = _number(headers.get("content-range", "").rpartition("/")[2])

    def blocks(self) -> Iterator[bytes]:
        """Yield the content; raises StorageNetworkError if that takes too long."""
        for block in self._answer.iter_bytes(BLOCK_BYTES):
            yield block
            if now() > self._end:
                raise network_fault(self.url, "timeout", "the answer takes too long")


@contextmanager
def opened(url: str, seconds: float, part: tuple[int, int] | None = None) -> Iterator[WebFile]:
    """Yield the file at a URL, or its `part` (start, size) if the server can send parts.

    Raises StorageError, also for errors while the block reads.
    """
    import httpx

    bounds = limits()
    end = now() + seconds
    waits = httpx.Timeout(min(bounds.timeout_s, seconds), connect=min(bounds.connect_s, seconds))
    headers = {} if part is None else {"Range": f"bytes={part[0]}-{part[0] + part[1] - 1}"}
    try:
        with (
            _client() as client,
            client.stream("GET", url, headers=headers, timeout=waits) as answer,
        ):
            if answer.status_code not in (OK, PART, NO_RANGE):
                requested = retry_after(answer.headers)
                raise status_fault(url, answer.status_code, answer.reason_phrase, requested)
            yield WebFile(url, answer, end)
    except (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL, OSError, ValueError) as error:
        # A URL may be no URL for the client (ValueError, as UnicodeError is).
        raise fault(url, error) from error


def read(url: str, seconds: float) -> bytes:
    """Return the file at a URL."""
    with opened(url, seconds) as file:
        content = b"".join(file.blocks())
        _check_whole(file, len(content), file.total)
        return content


def read_range(
    url: str, start: int, size: int, seconds: float, known: tuple[int | None, str] = (None, "")
) -> bytes:
    """Return `size` bytes of the file from `start`, fewer at the end of the file.

    Raises StorageError if the file is not the one of `known`, its size and stamp.
    """
    with opened(url, seconds, (start, size)) as file:
        if any(a and b and a != b for a, b in zip(known, (file.total, file.stamp), strict=True)):
            raise changed_fault(url)
        content = bytearray()
        if file.is_part and file.first not in (None, start):
            raise network_fault(url, "wrong part", f"from byte {file.first}, asked for {start}")
        # A server that cannot send parts sends the file from its beginning.
        skip = 0 if file.is_part else start
        if file.total == 0 or (file.total is not None and start >= file.total):
            return b""
        for block in file.blocks():
            content += block[skip:]
            skip = max(0, skip - len(block))
            if len(content) >= size:
                break
        expected = None if file.total is None else min(size, file.total - start)
        _check_whole(file, len(content[:size]), expected)
        return bytes(content[:size])


def copy(url: str, target: BinaryIO, seconds: float) -> None:
    """Write the file at a URL to an open file."""
    with opened(url, seconds) as file:
        size = sum(target.write(block) for block in file.blocks())
        _check_whole(file, size, file.total)


def _check_whole(file: WebFile, size: int, expected: int | None) -> None:
    if expected is not None and size < expected:
        raise network_fault(file.url, "incomplete answer", f"{size} of {expected} bytes")


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() else None


@contextmanager
def _client() -> Iterator["httpx.Client"]:
    """Yield a client that no other thread uses: threads would wait for a pool that they share."""
    idle = _idle_clients(os.getpid())
    client = idle.pop() if idle else _new_client(os.getpid())
    try:
        yield client
    finally:
        idle.append(client)


@lru_cache(maxsize=1)
def _idle_clients(process: int) -> "list[httpx.Client]":
    """Return the idle clients of this process: connections do not outlive a fork."""
    return []


@lru_cache(maxsize=1)
def _certificates(process: int) -> ssl.SSLContext:
    """Return the certificates that all clients share, since to load them takes 50 ms."""
    import httpx

    return httpx.create_ssl_context()


def _new_client(process: int) -> "httpx.Client":
    import httpx

    pool = httpx.Limits(max_connections=None, max_keepalive_connections=MAX_IDLE_CONNECTIONS)
    # Compressed answers would have another length than promised.
    headers = {"Accept-Encoding": "identity", "User-Agent": "librehps"}
    try:
        with _loading:
            verify = _certificates(process)
        return httpx.Client(limits=pool, headers=headers, follow_redirects=True, verify=verify)
    except (ssl.SSLError, OSError, ValueError) as error:
        # An invalid proxy or certificate file in the environment.
        raise StorageError(f"http is not available: {shown(error)}") from error
