"""Writes to URLs: each file is one request, complete or not at all; raise only StorageError.

A request that was answered by an error may have been done, so that each can be repeated.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from librehps.errors import StorageError, StorageNotFoundError
from librehps.storage import drivers
from librehps.storage.at_once import at_once
from librehps.storage.limits import limits
from librehps.storage.places import is_web, shown
from librehps.storage.retry import retried
from librehps.storage.store import read

# A read costs its row, a failed write ends the run: it is tried for some minutes.
MIN_ATTEMPTS = 10
# The slowest upload of a large file that is not given up.
MIN_BYTES_PER_S = 1 << 20
# The causes of the errors of servers and drivers that know no writes with a condition.
NO_CONDITION = ("HTTP 501", "NotImplementedError")

T = TypeVar("T")


def write(url: str, content: bytes) -> None:
    """Write a file, or replace it."""
    _done(url, lambda system, path: system.pipe_file(path, content))


def create(url: str, content: bytes) -> bool:
    """Write a file unless one exists; return whether the file is there with this content.

    Servers that know no writes with a condition replace a file that another process creates at the
    same time.
    """

    def created(system: Any, path: str) -> bool:
        try:
            system.pipe_file(path, content, mode="create")
        except FileExistsError:
            return False
        return True

    try:
        # An attempt that was answered by an error may have created the file.
        return _done(url, created) or read(url) == content
    except StorageError as error:
        if error.cause not in NO_CONDITION:
            raise
    write(url, content)
    return read(url) == content


def check_driver(url: str) -> None:
    """Raise StorageError if no installed driver writes to URLs of this scheme."""
    _done(url, lambda system, path: None)


def upload(source: Path, url: str) -> None:
    """Copy a local file to a URL; a large file is sent in parts, and is there when all are."""
    extra = source.stat().st_size / MIN_BYTES_PER_S
    _done(url, lambda system, path: system.put_file(str(source), path), extra)


def delete(urls: Iterable[str]) -> None:
    """Delete files; those that do not exist are no error."""
    at_once(_deleted, list(urls))


def _deleted(url: str) -> None:
    try:
        _done(url, lambda system, path: system.rm_file(path))
    except StorageNotFoundError:
        return


def _done(url: str, task: Callable[[Any, str], T], extra_s: float = 0.0) -> T:
    """Return what a task of a driver returns; its errors say that the URL cannot be written."""
    if is_web(url):
        raise StorageError(f"{shown(url)} cannot be written: web servers are for reading only")
    attempts = max(MIN_ATTEMPTS, limits().attempts)
    try:
        return retried(lambda left: drivers.call(url, left, task), attempts, extra_s)
    except StorageError as error:
        raise type(error)(_written(error, url), error.hint, error.cause, error.host) from error


def _written(error: StorageError, url: str) -> str:
    """Return the message of an error of a write."""
    if isinstance(error, StorageNotFoundError):
        return f"{shown(url)} cannot be written: its bucket does not exist"
    return str(error).replace(" cannot be read: ", " cannot be written: ", 1)
