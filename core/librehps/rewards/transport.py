"""HTTP requests to the reward server, with retries while the server is busy or down."""

import json
import logging
import random
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import Message
from email.utils import parsedate_to_datetime
from http.client import HTTPException, HTTPResponse, IncompleteRead
from threading import Event
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import (
    HTTPRedirectHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
    build_opener,
)

from librehps.errors import RewardServerError, UsageError

log = logging.getLogger("librehps")

# Statuses that are worth a retry.
RETRY_STATUSES = frozenset((408, 429, 500, 502, 503, 504))
TOO_LARGE_STATUS = 413
# The server's error_type for a request with too many items.
TOO_MANY_ITEMS_TYPE = "TooManyItems"
# The first wait, which doubles, and the longest, also if the server asks for more.
FIRST_WAIT_S, MAX_WAIT_S = 0.5, 60.0
STATUS_HINTS = {
    401: "Pass the server's token: RewardClient(url, token=...).",
    403: "Pass the server's token: RewardClient(url, token=...).",
    421: "Start the server with --allowed-host and the host name of this URL.",
    404: "Use the URL of the server itself, without a path, like http://127.0.0.1:8000.",
}
MAX_REASON_CHARS = 300
BLOCK_BYTES = 1 << 16


class _NoRedirects(HTTPRedirectHandler):
    """A handler that makes redirects errors, since following a redirect would leak the token."""

    def redirect_request(self, *_: Any) -> None:
        return None


class TooLargeError(RewardServerError):
    """The server's answer to a request with too many bytes or items."""


@dataclass(frozen=True)
class RetryPolicy:
    """The retry policy: number of retries, timeout of an answer in seconds, and a stop event."""

    retries: int
    timeout: float
    over: Event

    def wait(self, attempt: int, requested: float | None) -> float:
        """Return the seconds until the next try: doubled each time, at least `requested`.

        A random part of up to 25 % keeps clients that were refused together from retrying together.
        """
        seconds: float = max(FIRST_WAIT_S * 2.0 ** min(attempt, 16), requested or 0.0)
        return min(seconds, MAX_WAIT_S) * random.uniform(1, 1.25)


def post(url: str, body: bytes, token: str | None, policy: RetryPolicy) -> dict[str, Any]:
    """Return the JSON object that the server answers.

    Raises RewardServerError, and TooLargeError if the request is too large.
    """
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    request = Request(url, body, headers, method="POST")  # noqa: S310 - http(s), as was checked
    opener = _opener(url)
    for attempt in range(policy.retries + 1):
        if policy.over.is_set():
            raise RewardServerError(f"{url}: request cancelled: another request failed")
        deadline = time.monotonic() + policy.timeout
        try:
            with opener.open(request, timeout=policy.timeout) as answer:
                return _parsed(_read(answer, deadline), url)
        except HTTPError as error:
            problem, requested = _refusal(error, url), _retry_after(error.headers)
        except (OSError, HTTPException) as error:
            # Connection refused, reset or timed out: typical while a server restarts.
            problem, requested = (
                RewardServerError(f"{url}: cannot reach the server: {_words(error)}"),
                None,
            )
        if attempt < policy.retries:
            seconds = policy.wait(attempt, requested)
            log.warning("%s; retry in %.1f s", problem, seconds)
            if policy.over.wait(seconds):
                raise problem
    problem.hint = f"Tried {policy.retries + 1} times. Check that the server is up: GET /health."
    raise problem


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


def _opener(url: str) -> OpenerDirector:
    """Return an opener that follows no redirect, and uses no proxy for this machine."""
    host = urlsplit(url).hostname or ""
    is_here = host in ("localhost", "::1") or host.startswith("127.")
    return build_opener(_NoRedirects, *([ProxyHandler({})] if is_here else []))


def _read(answer: HTTPResponse, deadline: float) -> bytes:
    """Return the whole body; raises TimeoutError if the body is not complete by the deadline."""
    blocks: list[bytes] = []
    while block := answer.read1(BLOCK_BYTES):
        blocks.append(block)
        if time.monotonic() > deadline:
            raise TimeoutError("timed out, with an incomplete answer")
    if answer.length:
        raise IncompleteRead(b"".join(blocks), answer.length)
    return b"".join(blocks)


def _refusal(error: HTTPError, url: str) -> RewardServerError:
    """Return the error of a status worth a retry; raises the error of any other status."""
    try:
        text = error.read(4 * MAX_REASON_CHARS).decode(errors="replace").strip()
    except (OSError, HTTPException):
        # The status alone is enough.
        text = ""
    message = f"{url}: HTTP status {error.code}: {_reason(text) or error.reason}"
    if error.code == TOO_LARGE_STATUS or _parts(text).get("error_type") == TOO_MANY_ITEMS_TYPE:
        raise TooLargeError(message) from None
    if error.code not in RETRY_STATUSES:
        raise RewardServerError(message, hint=STATUS_HINTS.get(error.code)) from None
    return RewardServerError(message)


def _reason(text: str) -> str:
    """Return the reason in an error body: JSON of the server, or any text of a proxy."""
    parts = _parts(text)
    return str(parts.get("error") or parts.get("detail") or text)[:MAX_REASON_CHARS]


def _parts(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _retry_after(headers: Message) -> float | None:
    """Return the seconds of a Retry-After header, given as seconds or as a date."""
    value = str(headers.get("Retry-After", "")).strip()
    if not value:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        # A date without a time zone, or no date.
        return None


def _parsed(answer: bytes, url: str) -> dict[str, Any]:
    try:
        found = json.loads(answer)
    except ValueError as error:
        raise RewardServerError(
            f"{url}: invalid JSON in the answer: {error}", hint=STATUS_HINTS[404]
        ) from None
    if not isinstance(found, dict):
        raise RewardServerError(
            f"{url}: invalid answer: expected a JSON object, got {type(found).__name__}"
        )
    return found


def _words(error: BaseException) -> str:
    return str(getattr(error, "reason", None) or error) or type(error).__name__
