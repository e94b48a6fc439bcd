"""Output files: checks before a run, atomic writes, and file names as UTF-8 text."""

import errno
import logging
import os
import re
import shlex
import stat
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from itertools import islice, product
from pathlib import Path
from threading import get_ident
from typing import Protocol

from librehps.errors import OutputError, StorageError, UsageError

log = logging.getLogger("librehps")

# Errors of file systems that cannot flush folders, or nothing at all.
NO_SYNC = frozenset(
    (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EBADF, errno.ENOSYS, errno.EISDIR,
     errno.EPERM, errno.EACCES)
)  # fmt: skip
NO_ROOM = frozenset((errno.ENOSPC, errno.EDQUOT))
# The reasons that a warning has named.
_unsynced: set[str] = set()
# Bytes of two files that are compared at once.
COMPARED_BYTES = 1 << 20
# An undecodable byte of a file name in the text of `printable`, and in the text of `_distinct`.
BYTE = re.compile(r"%([89A-F][0-9A-F])")
DISTINCT_BYTE = re.compile(r"%(?:%([89A-F][0-9A-F])|25)")
# Spellings of a name that are tried, where bytes of the name and literal text look alike.
MAX_SPELLINGS = 16
# Suffix of a file that is still being written.
PARTIAL = ".partial"


class HasExists(Protocol):
    """A local path, or a URL."""

    def exists(self) -> bool: ...


def check_file(
    output: Path,
    suffixes: Collection[str] = (),
    expected: str = "",
    companions: Collection[str] = (PARTIAL,),
) -> None:
    """Raise UsageError for a path that cannot be an output file.

    That is an unsupported suffix (`expected` names the supported ones; empty `suffixes` allow any),
    a folder, a pipe or device, a missing or read-only folder, and a name that is too long, also
    with one of the suffixes `companions` of the files that are written next to the output.
    """
    suffix = output.suffix.lower()
    if suffixes and suffix not in suffixes:
        raise UsageError(f"{output}: unsupported output format {suffix!r}: {expected}")
    mode = _mode(output)
    if mode is not None and stat.S_ISDIR(mode):
        raise UsageError(f"{output} is a folder; expected a file")
    if mode is not None and not stat.S_ISREG(mode):
        raise UsageError(
            f"{output} is a pipe or a device; expected a file",
            hint="Write to standard output instead: -o -, or remove -o.",
        )
    check_parent(output, companions)


def check_parent(output: Path, companions: Collection[str] = ()) -> None:
    """Raise UsageError if files of this name cannot be made in the folder of the output."""
    folder = output.absolute().parent
    mode = _mode(folder)
    if mode is None or not stat.S_ISDIR(mode):
        raise UsageError(
            f"{output}: folder {folder} does not exist",
            hint=f"Create it: mkdir -p {shlex.quote(str(folder))}",
        )
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(
            f"{output}: folder {folder} is not writable", hint="Choose an output in another folder."
        )
    for companion in companions:
        _mode(output.with_name(output.name + companion))


def _mode(path: Path) -> int | None:
    """Return the mode of the file at a path, None if there is no file; raises UsageError."""
    try:
        return path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from error


def check_free(output: HasExists, overwrite: bool) -> None:
    """Raise UsageError for an output that already exists, unless `overwrite` is true."""
    if output.exists() and not overwrite:
        raise UsageError(
            f"{output} already exists", hint="Give another name, or --overwrite to replace it."
        )


def thread_partial(folder: Path) -> Path:
    """Return the path of a hidden temporary file in a folder, which only this thread writes."""
    return folder / f".librehps-{os.getpid()}-{get_ident()}{PARTIAL}"


@contextmanager
def growing(output: Path, partial: Path | None = None) -> Iterator[Path]:
    """Yield a temporary path to write; after the block, sync that file and rename it to `output`.

    After an error the temporary file is removed, and an existing output is unchanged. `partial` is
    the temporary path, where several processes may write the same output.
    """
    partial = partial or partial_of(output)
    try:
        yield partial
        publish(partial, output)
    finally:
        partial.unlink(missing_ok=True)


def write_whole(output: Path, content: str | bytes) -> None:
    """Write a file atomically: complete, or not at all; raises OSError."""
    data = content.encode() if isinstance(content, str) else content
    with growing(output) as partial:
        partial.write_bytes(data)


@contextmanager
def writing(
    output: object, hint: str | None = None, errors: tuple[type[Exception], ...] = (OSError,)
) -> Iterator[None]:
    """Raise OutputError with the reason for an error of the block; `hint` says what was kept.

    `output` is a local path or a URL. On a full disk, the hint begins with the advice to make room.
    """
    try:
        yield
    except StorageError as error:
        # Its message names the URL that could not be read or written.
        hints = " ".join(text for text in (error.hint, hint) if text)
        raise OutputError(str(error), hints or None) from error
    except errors as error:
        reason = getattr(error, "strerror", None) or error
        if hint is None and isinstance(output, Path) and output.is_file():
            hint = f"{output} is unchanged."
        elif hint is not None and getattr(error, "errno", None) in NO_ROOM:
            hint = f"Free disk space. {hint}"
        raise OutputError(f"{output} cannot be written: {reason}", hint) from error


def partial_of(output: Path) -> Path:
    """Return the path of a file while it is being written."""
    return output.with_name(output.name + PARTIAL)


def publish(partial: Path, output: Path) -> None:
    """Sync a complete file to the disk, then rename it to `output`."""
    sync(partial)
    partial.replace(output)
    sync(output.absolute().parent)


def is_equal(file: Path, other: Path) -> bool:
    """Return whether two files exist and have the same bytes."""
    if not other.exists() or file.stat().st_size != other.stat().st_size:
        return False
    with file.open("rb") as left, other.open("rb") as right:
        while data := left.read(COMPARED_BYTES):
            if data != right.read(COMPARED_BYTES):
                return False
    return True


def sync(path: Path) -> None:
    """Flush a file, or the names in a folder, to the disk; raises OSError if that fails.

    Where the file system cannot do it, a warning is logged, once for each reason.
    """
    is_folder = path.is_dir()
    if is_folder and os.name == "nt":
        # Windows cannot open folders.
        return
    try:
        handle = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    except PermissionError as error:
        if not is_folder:
            raise
        # A folder that may be written but not listed.
        _warn_unsynced(str(error.strerror), path)
        return
    try:
        sync_open(handle, path)
    finally:
        os.close(handle)


def sync_open(handle: int, path: Path) -> None:
    """Flush an open file or folder to the disk like `sync`; `path` is named in the warning."""
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in NO_SYNC:
            raise
        _warn_unsynced(error.strerror or str(error), path)


def _warn_unsynced(reason: str, path: Path) -> None:
    if reason not in _unsynced:
        _unsynced.add(reason)
        log.warning(
            f"{path} cannot be flushed to the disk ({reason}); a power loss may lose the last rows"
        )


def printable(text: object) -> str:
    """Return the text with undecodable bytes of a file name as %XX, so that it is valid UTF-8.

    Values of other types are converted by `str`.
    """
    found = text if type(text) is str else str(text)
    if found.isascii() or is_utf8(found):
        return found
    return (
        "".join(f"%{ord(c) - 0xDC00:02X}" if 0xDC80 <= ord(c) <= 0xDCFF else c for c in found)
        .encode(errors="replace")
        .decode()
    )


def path_text(path: str, place: str | Path | None = None) -> str:
    """Return a path as `printable` text, or where that text names another existing file, otherwise.

    `place` is the path at which the file lies, if `path` is a part of that (default: `path`).
    """
    text = printable(path)
    if text == path:
        return text
    # A path is made a text only here, since that takes as long as all the rest.
    at = str(place or path)
    other = found_path(printable(at))
    return text if other is None or other == at else "/".join(map(_distinct, path.split("/")))


def is_named(path: str, text: str) -> bool:
    """Return whether the text is one that `path_text` may give for a path, or the path itself."""
    names, parts = path.split("/"), text.split("/")
    return path == text or (
        len(names) == len(parts)
        and all(part in (name, printable(name), _distinct(name))
                for name, part in zip(names, parts, strict=True))
    )  # fmt: skip


def found_path(text: str) -> str | None:
    """Return the existing path that the text of `path_text` names, None without one.

    A file with exactly this name comes first.
    """
    if os.path.lexists(text):
        return text
    if not BYTE.search(text):
        return None
    places = [""]
    for part in filter(None, re.split("(?<=/)", text)):
        spelled = dict.fromkeys(above + name for above in places for name in _spellings(part))
        places = list(filter(os.path.lexists, spelled))
    return places[0] if places else None


def _distinct(name: str) -> str:
    """Return a name with undecodable bytes as text that no other name has, with %%XX for a byte."""
    if is_utf8(name):
        return name
    escaped = printable(name.replace("%", "\0"))
    return BYTE.sub(r"%%\1", escaped).replace("\0", "%25")


def _spellings(name: str) -> Iterator[str]:
    """Yield the names that a text may stand for, likeliest first."""
    yield name
    if "%%" in name:
        yield DISTINCT_BYTE.sub(lambda found: _byte(found[1]) if found[1] else "%", name)
    pieces = BYTE.split(name)
    for chosen in islice(product((True, False), repeat=len(pieces) // 2), MAX_SPELLINGS):
        spelled = pieces[0]
        for is_byte, code, text in zip(chosen, pieces[1::2], pieces[2::2], strict=True):
            spelled += (_byte(code) if is_byte else f"%{code}") + text
        # Bytes of valid UTF-8 are never written as %XX.
        if os.fsdecode(os.fsencode(spelled)) == spelled:
            yield spelled


def _byte(code: str) -> str:
    return chr(0xDC00 + int(code, 16))


def is_utf8(text: str) -> bool:
    """Return whether the text can be written as UTF-8: it has no undecodable bytes."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def counted(count: int, noun: str) -> str:
    """Return the number with the noun, in the plural unless it is one: `3 files`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
