"""Files of ratings: read whole, and replaced atomically with their owner and permissions."""

import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from librehps.errors import MediaDeniedError, MediaError
from librehps.files import publish, thread_partial


class Known(NamedTuple):
    """The content of a file, None if it does not exist, and its state when it was read."""

    content: bytes | None
    state: tuple[int, ...] | None


def read_file(file: Path) -> Known:
    """Return the content and the state of a file; raises MediaError."""
    try:
        # Before the content: a later change shows in the state.
        state = _state(file)
        return Known(None if state is None else file.read_bytes(), state)
    except OSError as error:
        raise _error(file, "read", error) from error


def read_head(file: Path, size: int) -> bytes:
    """Return the first bytes of a file; raises MediaError."""
    try:
        with file.open("rb") as opened:
            return opened.read(size)
    except OSError as error:
        raise _error(file, "read", error) from error


def replace_file(file: Path, known: Known, content: bytes | None) -> None:
    """Write a file complete or not at all, or delete the file for None; raises MediaError.

    A file that has changed since `known` was read, or is write-protected, stays as it is. A link
    stays a link to the changed file. A new file is not flushed to the disk, which would take
    most of the time; the next run writes a sidecar again that a power loss has emptied.
    """
    try:
        # Else the link would be replaced by a file.
        target = Path(os.path.realpath(file))
        if content is None:
            _check_unchanged(file, known)
            file.unlink()
            return
        partial = thread_partial(target.parent)
        # One that a killed run left.
        partial.unlink(missing_ok=True)
        try:
            with partial.open("xb") as opened:
                opened.write(content)
            if known.content is not None:
                _copy_owner(target, partial)
            _check_unchanged(file, known)
            if known.content is None:
                partial.replace(target)
            else:
                publish(partial, target)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise _error(file, "written", error) from error


def _check_unchanged(file: Path, known: Known) -> None:
    if _state(file) != known.state:
        raise MediaError(f"{file} is being written by another program; run the command again")
    if known.state is not None and not os.access(file, os.W_OK):
        raise MediaDeniedError(f"{file} is write-protected")


def _state(file: Path) -> tuple[int, ...] | None:
    try:
        found = file.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _copy_owner(source: Path, target: Path) -> None:
    owner, own = source.stat(), target.stat()
    if (owner.st_uid, owner.st_gid) != (own.st_uid, own.st_gid):
        # Only an administrator may give files away.
        with suppress(OSError):
            shutil.chown(target, owner.st_uid, owner.st_gid)
    # Last, since a new owner takes special permissions away.
    shutil.copymode(source, target)


def _error(file: Path, what: str, error: OSError) -> MediaError:
    kind = MediaDeniedError if isinstance(error, PermissionError) else MediaError
    return kind(f"{file} cannot be {what}: {error.strerror or error}")
