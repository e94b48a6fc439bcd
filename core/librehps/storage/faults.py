"""Translation of any driver's error into a StorageError by its kind."""

import errno
import socket
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from librehps.errors import (
    StorageDeniedError,
    StorageError,
    StorageNetworkError,
    StorageNotFoundError,
)
from librehps.storage.places import host_of, is_remote, shown

MAX_REASON_CHARS = 300
MISSING_STATUSES, DENIED_STATUSES = (404, 410), (401, 403, 407, 451)
# Statuses that a later try may not have; of the server's errors only these never change.
BUSY_STATUSES, LASTING_STATUSES = (408, 425, 429), (501, 505)
# Errors of the system that the network or a mount gives, with words for a message.
NETWORK_ERRNOS = {
    errno.ETIMEDOUT: "timeout",
    errno.ECONNREFUSED: "connection refused",
    errno.ECONNRESET: "connection reset",
    errno.ECONNABORTED: "connection reset",
    errno.EPIPE: "connection reset",
    errno.ENETUNREACH: "network unreachable",
    errno.ENETDOWN: "network down",
    errno.EHOSTUNREACH: "host unreachable",
    errno.EHOSTDOWN: "host down",
    errno.ENOTCONN: "not connected",
    errno.ESTALE: "stale file handle",
    errno.EBUSY: "busy",
    errno.EIO: "input/output error",
    errno.EREMOTEIO: "server error",
}
# Words for classes of errors, by the name of the class or of one of its bases, since importing
# every driver to name its classes is too slow.
NETWORK_CLASSES = {
    "gaierror": "DNS failure",
    "ClientConnectorDNSError": "DNS failure",
    "NameResolutionError": "DNS failure",
    "ConnectionRefusedError": "connection refused",
    "ConnectionResetError": "connection reset",
    "TimeoutError": "timeout",
    "TimeoutException": "timeout",
    "Timeout": "timeout",
    "ConnectTimeoutError": "timeout",
    "ReadTimeoutError": "timeout",
    "RemoteProtocolError": "incomplete answer",
    "ClientPayloadError": "incomplete answer",
    "IncompleteReadError": "incomplete answer",
    "IncompleteRead": "incomplete answer",
    "ResponseStreamingError": "incomplete answer",
    "ChunkedEncodingError": "incomplete answer",
    "ProtocolError": "incomplete answer",
    "ServerDisconnectedError": "connection reset",
    "NetworkError": "connection failed",
    "ProxyError": "connection failed",
    "ConnectionError": "connection failed",
    "ClientConnectionError": "connection failed",
    "EndpointConnectionError": "connection failed",
    "HTTPClientError": "connection failed",
    "ServiceRequestError": "connection failed",
    "ServiceResponseError": "connection failed",
    "TransportError": "connection failed",
}
DENIED_CLASSES = frozenset(
    ("NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError",
     "TokenRetrievalError", "ClientAuthenticationError", "DefaultCredentialsError", "RefreshError",
     "GatedRepoError", "LocalTokenNotFoundError")
)  # fmt: skip
# A server's wrong certificate stays wrong, as does a setting that allows no network.
LASTING_CLASSES = frozenset(
    (
        "OfflineModeIsEnabled",
        "SSLCertVerificationError",
        "UnsupportedProtocol",
        "LocalProtocolError",
        "TooManyRedirects",
    )
)
DENIED_HINT = "Check the credentials of this machine, and that a signed URL has not expired."


def fault(place: object, error: BaseException) -> StorageError:
    """Return the StorageError of an error of the system or of a driver."""
    if isinstance(error, StorageError):
        return error
    chain = list(_chain(error))
    status = next((found for one in chain if (found := _status(one))), None)
    reason = _reason(error)
    if status is not None and _is_passing(status):
        return status_fault(place, status, reason, _requested(chain))
    names = {kind.__name__ for one in chain for kind in type(one).__mro__}
    if words := None if names & LASTING_CLASSES else _network_words(chain, names):
        return network_fault(place, words, reason)
    if status is not None:
        return status_fault(place, status, reason)
    if names & {"FileNotFoundError", "NotADirectoryError"}:
        return missing_fault(place)
    if names & ({"PermissionError"} | DENIED_CLASSES):
        return denied_fault(place, reason)
    return StorageError(f"{shown(place)} cannot be read: {reason}", cause=type(error).__name__)


def status_fault(
    place: object, status: int, reason: str = "", retry_after: float | None = None
) -> StorageError:
    """Return the StorageError of an answer with an HTTP status of an error."""
    if status in MISSING_STATUSES:
        return missing_fault(place)
    words = f"HTTP {status}"
    if status in DENIED_STATUSES:
        return denied_fault(place, f"{words} {reason}".rstrip(), words)
    if not _is_passing(status):
        message = f"{shown(place)} cannot be read: {words} {reason}".rstrip()
        return StorageError(message, cause=words, host=host_of(str(place)))
    found = network_fault(place, words, reason)
    found.retry_after = retry_after
    return found


def missing_fault(place: object) -> StorageNotFoundError:
    """Return the error of a file or URL that does not exist."""
    return StorageNotFoundError(
        f"{shown(place)} does not exist", cause="not found", host=host_of(str(place))
    )


def denied_fault(place: object, reason: str, cause: str = "access denied") -> StorageDeniedError:
    """Return the error of a file or URL to which access is denied."""
    hint = DENIED_HINT if is_remote(place) else None
    message = f"{shown(place)}: access denied ({shown(reason)})"
    return StorageDeniedError(message, hint, cause, host_of(str(place)))


def changed_fault(place: object) -> StorageError:
    """Return the error of a file that was replaced while parts of it were read."""
    return StorageError(
        f"{shown(place)} changed while it was read",
        "Run the command again, once the file stays as it is.",
        "changed",
        host_of(str(place)),
    )


def network_fault(place: object, cause: str, reason: str = "") -> StorageNetworkError:
    """Return the error of a failure that a later try may not have."""
    more = "" if not reason or reason == cause else f" ({shown(reason)})"
    message = f"{shown(place)} cannot be read: {cause}{more}"
    return StorageNetworkError(message, cause=cause, host=host_of(str(place)))


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds of a Retry-After header, given as seconds or as a date."""
    value = str(headers.get("Retry-After") or headers.get("retry-after") or "").strip()
    if value.isdecimal():
        return float(value)
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        # No header, a date without a time zone, or no date.
        return None


def _is_passing(status: int) -> bool:
    return status in BUSY_STATUSES or (status >= 500 and status not in LASTING_STATUSES)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and the errors that led to it."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        # Also the context that `raise .. from None` hides: drivers hide the system's error so.
        error = error.__cause__ or error.__context__


def _status(error: Any) -> int | None:
    """Return the HTTP status in an error of any driver."""
    answer = getattr(error, "response", None)
    if isinstance(answer, Mapping):
        # Those of botocore.
        found = answer.get("ResponseMetadata", {}).get("HTTPStatusCode")
    else:
        found = getattr(answer, "status_code", None) or getattr(answer, "status", None)
    for value in (found, *(getattr(error, n, None) for n in ("status_code", "status", "code"))):
        number = int(value) if isinstance(value, str) and value.isdecimal() else value
        if isinstance(number, int) and 400 <= number < 600:
            return number
    return None


def _requested(chain: list[Any]) -> float | None:
    """Return the seconds that a server asked to wait, from the headers in an error."""
    for error in chain:
        answer = getattr(error, "response", None)
        if isinstance(answer, Mapping):
            headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders")
        else:
            headers = getattr(answer, "headers", None) or getattr(error, "headers", None)
        if isinstance(headers, Mapping) and (found := retry_after(headers)) is not None:
            return found
    return None


def _network_words(chain: list[BaseException], names: set[str]) -> str | None:
    """Return words for an error of the network; None for other errors."""
    system = (e for e in chain if isinstance(e, OSError) and not isinstance(e, socket.gaierror))
    for number in [error.errno or 0 for error in system][::-1]:
        if number in NETWORK_ERRNOS:
            return NETWORK_ERRNOS[number]
    return next((words for name, words in NETWORK_CLASSES.items() if name in names), None)


def _reason(error: BaseException) -> str:
    """Return a driver's text of its error in a line, after the class where that tells more."""
    text = " ".join(shown(error).split())[:MAX_REASON_CHARS]
    if isinstance(error, OSError) and error.strerror and error.errno:
        return str(error.strerror)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
