"""Logs of the server: lines of text or JSON on stderr, and one line for each request.

No line has a token, a prompt, media, or the query of a URL.
"""

import json
import logging
import re
import secrets
import time
from collections.abc import MutableMapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from librehps.choices import LogFormat, LogLevel
from librehps.serve.log_writer import LogWriter

# Without starlette, which the command line must not import to report an error.
Scope = MutableMapping[str, Any]

log = logging.getLogger("librehps.access")

# The id of the request that the current task answers.
request_id: ContextVar[str] = ContextVar("request_id", default="")
# Clients may send their own ids, which appear in logs and answers.
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:/+=@-]{1,128}")
# Loggers whose lines have the server's format.
LOGGERS = ("librehps", "uvicorn", "asyncio", "py.warnings")
MAX_PATH_CHARS, MAX_REASON_CHARS = 200, 300
# Passwords, queries and fragments of URLs may be secrets; the reason after ": " is not.
_SECRETS = re.compile(r"(?:(?<=://).*@|(?<=[?#]))(?:.*(?=: )|.*)", re.DOTALL)
_KEY = "librehps.request"
# Values that need no quotes in a line of text.
_PLAIN = re.compile(r'[^\s"=]+')


@dataclass
class RequestRecord:
    """The facts of one request for its log line and the metrics.

    `waited`: the seconds until there was memory for its body.
    """

    id: str
    started: float = field(default_factory=time.monotonic)
    status: int = 0
    bytes_in: int = 0
    items: int = 0
    error_type: str | None = None
    reason: str | None = None
    waited: float = 0.0

    @property
    def seconds(self) -> float:
        """The seconds since the request started."""
        return time.monotonic() - self.started


def start_record(scope: Scope, given: bytes | None) -> RequestRecord:
    """Return the new record of a request; `given` is the client's own id, if valid."""
    valid = given is not None and _REQUEST_ID.fullmatch(given)
    record = RequestRecord(given.decode() if given and valid else secrets.token_hex(8))
    scope[_KEY] = record
    request_id.set(record.id)
    return record


def record_of(scope: Scope) -> RequestRecord:
    """Return the record of a request that has started."""
    record = scope.get(_KEY)
    return record if isinstance(record, RequestRecord) else RequestRecord("")


def log_request(scope: Scope, record: RequestRecord, *, is_monitoring: bool) -> None:
    """Log one answered request."""
    level = _level(record.status, is_monitoring)
    if not log.isEnabledFor(level):
        return
    client = scope.get("client")
    fields: dict[str, Any] = {
        "method": scope["method"],
        "path": clean(scope["path"], MAX_PATH_CHARS),
        "status": record.status,
        "ms": round(record.seconds * 1000, 1),
        "bytes_in": record.bytes_in,
        "items": record.items,
        "client": client[0] if client else "",
        "request_id": record.id,
    }
    if record.error_type is not None:
        fields["error_type"] = record.error_type
        fields["reason"] = clean(_SECRETS.sub("...", record.reason or ""), MAX_REASON_CHARS)
    # Logger.log would look for the caller's line, which costs as much as the rest.
    line = logging.LogRecord(log.name, level, "", 0, "request", None, None)
    line.fields = fields
    log.handle(line)


def _level(status: int, is_monitoring: bool) -> int:
    if status == 500:
        return logging.ERROR
    if is_monitoring:
        return logging.DEBUG
    return logging.WARNING if status >= 400 else logging.INFO


def clean(text: str, most: int) -> str:
    """Return the text on one line, without control characters, cut to `most` characters."""
    text = text if len(text) <= most else text[:most] + "..."
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


class TextFormatter(logging.Formatter):
    """Lines of text: time, level, message, and the fields of a request as key=value."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, and a traceback below it."""
        fields = getattr(record, "fields", {})
        words = [_time(record), record.levelname, record.getMessage()]
        words += [f"{name}={_word(value)}" for name, value in fields.items()]
        if not fields and (id := request_id.get()):
            words.append(f"request_id={id}")
        line = " ".join(words)
        return line + "\n" + self.formatException(record.exc_info) if record.exc_info else line


class JsonFormatter(logging.Formatter):
    """Lines of one JSON object each."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        entry = {"time": _time(record), "level": record.levelname.lower(), "logger": record.name,
                 "message": record.getMessage()}  # fmt: skip
        if id := request_id.get():
            entry["request_id"] = id
        entry.update(getattr(record, "fields", {}))
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return json.dumps(entry)


def _time(record: logging.LogRecord) -> str:
    seconds = int(record.created)
    return f"{_date(seconds)}.{int((record.created - seconds) * 1000):03}Z"


@lru_cache(maxsize=4)
def _date(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _word(value: Any) -> str:
    text = str(value)
    return text if _PLAIN.fullmatch(text) else json.dumps(text)


def error_record(message: str, hint: str | None) -> logging.LogRecord:
    """Return the record of an error that ends the server."""
    record = logging.LogRecord("librehps", logging.ERROR, "", 0, message, None, None)
    record.fields = {"hint": hint} if hint else {}
    return record


def start_logs(format: LogFormat, level: LogLevel) -> LogWriter:
    """Send the server's logs to stderr, in a format, from a level on; return their handler."""
    handler = LogWriter()
    handler.setFormatter(JsonFormatter() if format == "json" else TextFormatter())
    logging.captureWarnings(True)
    # Nothing shows these facts of a record, and each costs a call.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    least = logging.getLevelNamesMapping()[level.upper()]
    for name in LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        # uvicorn's lines of level info repeat ours.
        is_ours = name == "librehps" or least == logging.DEBUG
        logger.setLevel(least if is_ours else max(least, logging.WARNING))
    return handler
