"""Locks between processes, also on file systems without locks such as some NFS and Lustre mounts.

There a file that only one process can create takes the place of the lock; after a kill it stays.
"""

import contextlib
import errno
import logging
import os
import shlex
import socket
from pathlib import Path

from librehps.errors import UsageError

log = logging.getLogger("librehps")

HELD = frozenset((errno.EACCES, errno.EAGAIN, errno.EWOULDBLOCK, errno.EDEADLK))
UNSUPPORTED = frozenset((errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL))
OWNER_SUFFIX = ".owner"


class ProcessLock:
    """A lock on the file `path`; the operating system releases it if this process dies.

    On file systems without locks, the file `path` + `.owner`, with host and process id, which a
    process that is killed leaves behind.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.owner = path, path.with_name(path.name + OWNER_SUFFIX)
        self._handle: int | None = None
        self._owns_file = False

    def acquire(self, what: str) -> None:
        """Take the lock; raises UsageError if another process holds it, and OSError.

        `what` is named in the error, and in the warning about file systems without locks.
        """
        busy = UsageError(
            f"another process is writing to {what}",
            hint="Wait until it has ended, or choose another output.",
        )
        handle = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _lock(handle)
            # The process that held the lock may have deleted the file since it was opened.
            if not os.fstat(handle).st_nlink and os.name != "nt":
                raise busy
        except OSError as error:
            os.close(handle)
            if error.errno in HELD:
                raise busy from None
            if error.errno not in UNSUPPORTED:
                raise
            self._create_owner(what, error.strerror or str(error))
            return
        except UsageError:
            os.close(handle)
            raise
        self._handle = handle
        if self.owner.exists():
            self.release()
            raise self._held(what)

    def release(self) -> None:
        """Release the lock, if this object holds it."""
        if self._handle is not None:
            os.close(self._handle)
        if self._owns_file:
            self.owner.unlink(missing_ok=True)
        self._handle, self._owns_file = None, False

    def _create_owner(self, what: str, reason: str) -> None:
        try:
            handle = os.open(self.owner, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        except FileExistsError:
            raise self._held(what) from None
        self._owns_file = True
        with os.fdopen(handle, "w") as file:
            file.write(f"{socket.gethostname()} {os.getpid()}\n")
        log.warning(
            f"{what}: this file system has no locks ({reason}); {self.owner.name} in it keeps "
            "other processes out"
        )

    def _held(self, what: str) -> UsageError:
        """Return the error for an owner file that another process made."""
        host, _, process = _text(self.owner).partition(" ")
        name = f"process {process} on {host}" if process else "another process"
        remove = f"rm {shlex.quote(str(self.owner))}"
        if host == socket.gethostname() and process.isdigit() and not _is_running(int(process)):
            return UsageError(f"{what}: {name} ended without releasing it", f"Release it: {remove}")
        return UsageError(
            f"{name} is writing to {what}", f"If this process has ended, release it: {remove}"
        )


def _lock(handle: int) -> None:
    """Lock an open file; raises OSError, with an error of HELD where another process holds it."""
    if os.name == "nt":
        import msvcrt

        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
    else:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _text(file: Path) -> str:
    with contextlib.suppress(OSError):
        return file.read_text(errors="replace").strip()
    return ""


def _is_running(process: int) -> bool:
    if os.name == "nt":
        # There 0 is Ctrl-C.
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return True
