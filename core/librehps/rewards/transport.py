"""One request to the reward server, asked again while the server is busy or away."""

import json
import logging
import random
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import Message
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.request import HTTPRedirectHandler, Request, build_opener

from librehps.errors import RewardServerError

log = logging.getLogger("librehps")

# Answers that a later try may turn into a good one.
PASSING = frozenset((408, 429, 500, 502, 503, 504))
TOO_LARGE = 413
# Seconds: the first wait, which doubles, and the longest, also of those the server asks for.
FIRST_WAIT, LONGEST_WAIT = 0.5, 60.0
HINTS = {
    401: "Give the server's token: RewardClient(url, token=...).",
    403: "Give the server's token: RewardClient(url, token=...).",
    421: "Start the server with --allowed-host and the name that this url has.",
    404: "The url is that of the server itself, without a path behind it.",
}
SHOWN = 300


class _NoRedirects(HTTPRedirectHandler):
    """A redirect is an error: following it would show the token to whom it names."""

    def redirect_request(self, *_: Any) -> None:
        return None


class TooLargeError(RewardServerError):
    """The server takes no body of this size."""


@dataclass(frozen=True)
class Patience:
    """How often it is asked again, and the seconds that one answer may take."""

    retries: int
    timeout: float

    def wait(self, attempt: int, asked: float | None) -> float:
        """Seconds before the next try: doubled each time, up to a quarter more at random.

        At least what the server asked for: clients that were refused together shall not come back
        together.
        """
        seconds: float = max(FIRST_WAIT * 2.0 ** min(attempt, 16), asked or 0.0)
        return min(seconds, LONGEST_WAIT) * random.uniform(1, 1.25)


def post(url: str, body: bytes, token: str | None, patience: Patience) -> dict[str, Any]:
    """The JSON object that the server answers.

    Raises RewardServerError, of a 413 the TooLargeError among them.
    """
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    request = Request(url, body, headers, method="POST")  # noqa: S310 - http(s), as was checked
    for attempt in range(patience.retries + 1):
        try:
            with build_opener(_NoRedirects).open(request, timeout=patience.timeout) as answer:
                return _parsed(answer.read(), url)
        except HTTPError as error:
            problem, asked = _refusal(error, url), _retry_after(error.headers)
        except (OSError, HTTPException) as error:
            # Refused, dropped, timed out, cut short: all that a server does while it restarts.
            problem, asked = RewardServerError(f"{url} cannot be asked: {_words(error)}"), None
        if attempt < patience.retries:
            seconds = patience.wait(attempt, asked)
            log.warning("%s; asked again in %.1f s", problem, seconds)
            time.sleep(seconds)
    problem.hint = f"Tried {patience.retries + 1} times. Is the server up (GET /health)?"
    raise problem


def _refusal(error: HTTPError, url: str) -> RewardServerError:
    """What a passing refusal says; raises those that would be the same again."""
    try:
        text = error.read(4 * SHOWN).decode(errors="replace").strip()
    except (OSError, HTTPException):
        # The status alone says enough.
        text = ""
    message = f"{url} answers {error.code}: {_told(text) or error.reason}"
    if error.code == TOO_LARGE:
        raise TooLargeError(message) from None
    if error.code not in PASSING:
        raise RewardServerError(message, hint=HINTS.get(error.code)) from None
    return RewardServerError(message)


def _told(text: str) -> str:
    """The reason in the body of a refusal, which proxies write in words of their own."""
    try:
        found = json.loads(text)
    except ValueError:
        return text[:SHOWN]
    reason = found.get("error") or found.get("detail") if isinstance(found, dict) else None
    return str(reason or text)[:SHOWN]


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
