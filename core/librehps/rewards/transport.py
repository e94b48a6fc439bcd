"""One request to the reward server, asked again while the server is busy or away."""

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

# Answers that a later try may turn into a good one.
PASSING = frozenset((408, 429, 500, 502, 503, 504))
TOO_LARGE = 413
# What the server's error_type says of a request with more items than it takes.
TOO_MANY = "TooManyItems"
# Seconds: the first wait, which doubles, and the longest, also of those the server asks for.
FIRST_WAIT, LONGEST_WAIT = 0.5, 60.0
HINTS = {
    401: "Give the server's token: RewardClient(url, token=...).",
    403: "Give the server's token: RewardClient(url, token=...).",
    421: "Start the server with --allowed-host and the name that this url has.",
    404: "The url is that of the server itself, without a path behind it.",
}
SHOWN = 300
BLOCK = 1 << 16


class _NoRedirects(HTTPRedirectHandler):
    """A redirect is an error: following it would show the token to whom it names."""

    def redirect_request(self, *_: Any) -> None:
        return None


class TooLargeError(RewardServerError):
    """The server takes no request of this size, or of so many items."""


@dataclass(frozen=True)
class Patience:
    """How often it is asked again, the seconds that an answer may take, and whether it is over."""

    retries: int
    timeout: float
    over: Event

    def wait(self, attempt: int, asked: float | None) -> float:
        """Seconds before the next try: doubled each time, up to a quarter more at random.

        At least what the server asked for: clients that were refused together shall not come back
        together.
        """
        seconds: float = max(FIRST_WAIT * 2.0 ** min(attempt, 16), asked or 0.0)
        return min(seconds, LONGEST_WAIT) * random.uniform(1, 1.25)


def post(url: str, body: bytes, token: str | None, patience: Patience) -> dict[str, Any]:
    """The JSON object that the server answers.

    Raises RewardServerError, the TooLargeError among them.
    """
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    request = Request(url, body, headers, method="POST")  # noqa: S310 - http(s), as was checked
    opener = _opener(url)
    for attempt in range(patience.retries + 1):
        if patience.over.is_set():
            raise RewardServerError(f"{url} is asked no more: another request failed")
        deadline = time.monotonic() + patience.timeout
        try:
            with opener.open(request, timeout=patience.timeout) as answer:
                return _parsed(_read(answer, deadline), url)
        except HTTPError as error:
            problem, asked = _refusal(error, url), _retry_after(error.headers)
        except (OSError, HTTPException) as error:
            # Refused, dropped, timed out, cut short: all that a server does while it restarts.
            problem, asked = RewardServerError(f"{url} cannot be asked: {_words(error)}"), None
        if attempt < patience.retries:
            seconds = patience.wait(attempt, asked)
            log.warning("%s; asked again in %.1f s", problem, seconds)
            if patience.over.wait(seconds):
                raise problem
    problem.hint = f"Tried {patience.retries + 1} times. Is the server up (GET /health)?"
    raise problem


def check_address(url: str) -> None:
    """Raise UsageError for what is no address of a server, before anything is asked of it."""
    if "@" in str(url):
        # Not shown, since it may hold a password.
        raise UsageError("a url has no user or password", hint="Give the token as token=.")
    try:
        parts = urlsplit(url)
        is_plain = url.isascii() and url.isprintable() and " " not in url
        # The look at the port is what refuses a bad one.
        is_whole = is_plain and bool(parts.hostname) and parts.port != 0
    except (ValueError, TypeError, AttributeError):
        is_whole = False
    if not is_whole or parts.scheme not in ("http", "https") or parts.query or parts.fragment:
        raise UsageError(
            f"{url!r} is no http:// or https:// address of a server",
            hint="Write it like http://127.0.0.1:8000.",
        )


def checked_token(token: str | None) -> str | None:
    """As a header takes it; None of an empty one. Raises UsageError, without the token."""
    if token is None:
        return None
    plain = token.strip() if isinstance(token, str) else None
    if plain is None or not (plain.isascii() and plain.isprintable()):
        raise UsageError("the token is not printable ASCII text on one line")
    return plain or None


def _opener(url: str) -> OpenerDirector:
    """Without redirects, and without a proxy to this very machine."""
    host = urlsplit(url).hostname or ""
    is_here = host in ("localhost", "::1") or host.startswith("127.")
    return build_opener(_NoRedirects, *([ProxyHandler({})] if is_here else []))


def _read(answer: HTTPResponse, deadline: float) -> bytes:
    """The whole body; raises TimeoutError after the deadline, however steadily it trickles."""
    blocks: list[bytes] = []
    while block := answer.read1(BLOCK):
        blocks.append(block)
        if time.monotonic() > deadline:
            raise TimeoutError("timed out, with half of the answer")
    if answer.length:
        raise IncompleteRead(b"".join(blocks), answer.length)
    return b"".join(blocks)


def _refusal(error: HTTPError, url: str) -> RewardServerError:
    """What a passing refusal says; raises those that would be the same again."""
    try:
        text = error.read(4 * SHOWN).decode(errors="replace").strip()
    except (OSError, HTTPException):
        # The status alone says enough.
        text = ""
    message = f"{url} answers {error.code}: {_told(text) or error.reason}"
    if error.code == TOO_LARGE or _parts(text).get("error_type") == TOO_MANY:
        raise TooLargeError(message) from None
    if error.code not in PASSING:
        raise RewardServerError(message, hint=HINTS.get(error.code)) from None
    return RewardServerError(message)


def _told(text: str) -> str:
    """The reason in the body of a refusal, which proxies write in words of their own."""
    parts = _parts(text)
    return str(parts.get("error") or parts.get("detail") or text)[:SHOWN]


def _parts(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _retry_after(headers: Message) -> float | None:
    """Seconds of a Retry-After header, which gives them or a date."""
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
        # A date without a zone, or none at all.
        return None


def _parsed(answer: bytes, url: str) -> dict[str, Any]:
    try:
        found = json.loads(answer)
    except ValueError as error:
        raise RewardServerError(f"{url} answers no JSON: {error}", hint=HINTS[404]) from None
    if not isinstance(found, dict):
        raise RewardServerError(f"{url} answers a JSON {type(found).__name__}, not an object")
    return found


def _words(error: BaseException) -> str:
    return str(getattr(error, "reason", None) or error) or type(error).__name__
