"""Read the answers of the reward server: rows, refusals, and when to ask again."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from numbers import Real
from typing import Any

from librehps.errors import RewardServerError
from librehps.rewards.encoding import Entry
from librehps.scores.columns import axes_in_rows

Row = Mapping[str, Any]
# Statuses that are worth a retry.
RETRY_STATUSES = frozenset((408, 429, 500, 502, 503, 504))
# Statuses of a server, or of a proxy before a server, that takes no requests.
DOWN_STATUSES = frozenset((502, 503))
TOO_LARGE_STATUS, UNSUPPORTED_STATUS, INVALID_STATUS = 413, 415, 422
# The server's error_type for a request with too many items.
TOO_MANY_ITEMS_TYPE = "TooManyItems"
STATUS_HINTS = {
    401: "Pass the server's token: RewardClient(url, token=...).",
    403: "Pass the server's token: RewardClient(url, token=...).",
    421: "Start the server with --allowed-host and the host name of this URL.",
    404: "Use the URL of the server itself, without a path, like http://127.0.0.1:8000.",
}
MAX_REASON_CHARS = 300


class TooLargeError(RewardServerError):
    """The server's answer to a request with too many bytes or items."""


class NoFramesError(RewardServerError):
    """The answer of a server that reads no clips in memory."""


@dataclass(frozen=True)
class Reply:
    """An answer over HTTP; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def is_ok(self) -> bool:
        """True for an answer with scores."""
        return self.status == HTTPStatus.OK


@dataclass(frozen=True)
class Lost:
    """A request without an answer, typical while a server restarts."""

    reason: str


def refusal(reply: Reply, url: str, has_frames: bool = False) -> RewardServerError:
    """Return the error of a status worth a retry; raises the error of any other status.

    `has_frames`: whether the request was JSON with frames, which an older server refuses.
    """
    text = reply.content.decode(errors="replace").strip()
    parts = _parts(text)
    reason = str(parts.get("error") or parts.get("detail") or text)[:MAX_REASON_CHARS]
    message = f"{url}: HTTP status {reply.status}: {reason or _phrase(reply.status)}"
    if reply.status == TOO_LARGE_STATUS or parts.get("error_type") == TOO_MANY_ITEMS_TYPE:
        raise TooLargeError(message)
    if has_frames and reply.status == INVALID_STATUS and "frames_b64" in text:
        raise NoFramesError(message)
    if reply.status not in RETRY_STATUSES:
        raise RewardServerError(message, hint=STATUS_HINTS.get(reply.status))
    return RewardServerError(message)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds of a Retry-After header, given as seconds or as a date."""
    value = headers.get("retry-after", "").strip()
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


def read_answer(content: bytes, url: str) -> Row:
    """Return the JSON object of an answer; raises RewardServerError."""
    try:
        found = json.loads(content)
    except ValueError as error:
        raise RewardServerError(
            f"{url}: invalid JSON in the answer: {error}", hint=STATUS_HINTS[404]
        ) from None
    if not isinstance(found, dict):
        raise RewardServerError(
            f"{url}: invalid answer: expected a JSON object, got {type(found).__name__}"
        )
    return found


def read_rows(answer: Row, group: Sequence[Entry], url: str) -> list[Row]:
    """Return the rows of an answer, one for each entry; raises RewardServerError."""
    rows = answer.get("items")
    whole = isinstance(rows, list) and all(isinstance(r, dict) and "status" in r for r in rows)
    if not whole or [r.get("id") for r in rows or ()] != [str(entry.at) for entry in group]:
        raise RewardServerError(
            f"{url}: invalid answer: the items differ from those of the request"
        )
    for row in rows or ():
        _check_numbers(row, url)
    return list(rows or ())


def _check_numbers(row: Row, url: str) -> None:
    for name in (column for axis in axes_in_rows([row]) for column in (axis, f"{axis}_mu")):
        if not isinstance(row.get(name), Real | None):
            raise RewardServerError(
                f"{url}: invalid answer: {name}: expected a number, got {row[name]!r}"
            )


def _parts(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "unknown status"
