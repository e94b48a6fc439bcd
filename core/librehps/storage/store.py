"""Functions on places (local paths and URLs): read, list; each raises only StorageError."""

import io
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast
from urllib.parse import unquote

from librehps.errors import StorageError, StorageNotFoundError
from librehps.storage import drivers, web
from librehps.storage.faults import fault, network_fault
from librehps.storage.places import is_remote, is_web
from librehps.storage.ranges import open_ranges
from librehps.storage.retry import retried

# Fields in which drivers tell a version of a file, the surest first.
STAMP_FIELDS = (
    "ETag", "etag", "blob_id", "generation", "md5Hash", "crc32c", "LastModified", "last_modified",
    "updated", "mtime", "created",
)  # fmt: skip

Place = str | Path
T = TypeVar("T")


@dataclass(frozen=True)
class Stat:
    """A file: its place, size in bytes (None: unknown), and a text that changes with its content.

    `has_ranges` is false for a server that only sends whole files.
    """

    place: str
    size: int | None
    stamp: str
    is_folder: bool = False
    has_ranges: bool = True


def read(place: Place) -> bytes:
    """Return the content of a file."""
    if not is_remote(place):
        with _local(place):
            return Path(place).read_bytes()
    url = str(place)
    if is_web(url):
        return retried(lambda left: web.read(url, left))
    return _call(url, drivers.whole)


def read_range(place: Place, start: int, size: int) -> bytes:
    """Return `size` bytes of a file from `start`, fewer only at the end of the file."""
    if size <= 0:
        return b""
    if not is_remote(place):
        with _local(place), Path(place).open("rb") as file:
            file.seek(start)
            return file.read(size)
    url = str(place)
    if is_web(url):
        return retried(lambda left: web.read_range(url, start, size, left))
    end = start + size
    try:
        return _call(url, lambda system, path: bytes(system.cat_file(path, start=start, end=end)))
    except StorageError as error:
        if error.cause == "HTTP 416":
            # The file ends before `start`.
            return b""
        raise


def opened(place: Place, known: Stat | None = None) -> BinaryIO:
    """Open a file for reading that can seek; its reads raise StorageError.

    A remote file is read by ranges, several at once. From a server that only sends whole files it
    is first copied to a temporary file. `known` is its Stat, which is then not asked for. A web
    server tells with each part whether the file is still the same; else the read is an error.
    """
    if not is_remote(place):
        with _local(place):
            return Path(place).open("rb")
    url, found = str(place), known or stat(place)
    if found.has_ranges and found.size is not None:
        return open_ranges(
            url, found.size, lambda start, size: read_exactly(url, start, size, found)
        )
    return _copied(url) if is_web(url) else io.BytesIO(read(url))


@contextmanager
def open_file(place: Place) -> Iterator[BinaryIO]:
    """Yield the file of `opened`, and close it after the block. `pyarrow.PythonFile` takes it."""
    with opened(place) as file:
        yield file


def read_exactly(place: Place, start: int, size: int, known: Stat | None = None) -> bytes:
    """Return `size` bytes of a file from `start`; raises StorageError for any other number.

    A part of a web file is an error too if the file is not the one of `known` any more.
    """

    def checked(content: bytes) -> bytes:
        if len(content) != size:
            raise network_fault(place, "incomplete answer", f"{len(content)} of {size} bytes")
        return content

    url, end = str(place), start + size
    same = (known.size, known.stamp) if known else (None, "")
    if not is_remote(place):
        return checked(read_range(place, start, size))
    if is_web(url):
        return retried(lambda left: checked(web.read_range(url, start, size, left, same)))
    return _call(
        url, lambda system, path: checked(bytes(system.cat_file(path, start=start, end=end)))
    )


def stat(place: Place) -> Stat:
    """Return size and stamp of a file or folder; raises StorageNotFoundError if there is none."""
    if not is_remote(place):
        path = Path(place)
        with _local(place):
            found = path.stat()
        return Stat(str(place), found.st_size, str(found.st_mtime_ns), path.is_dir())
    url = str(place)
    if is_web(url):
        return retried(lambda left: _web_stat(url, left))
    return _call(url, lambda system, path: _entry(system.info(path), url))


def exists(place: Place) -> bool:
    """Return whether there is a file or folder; raises StorageError if that cannot be known."""
    try:
        stat(place)
    except StorageNotFoundError:
        return False
    return True


def find_below(
    url: str, max_depth: int | None, is_kept: Callable[[str], bool]
) -> tuple[list[str], dict[str, Stat]]:
    """Return the relative paths of the files below a URL, unsorted, and facts of those kept.

    With `max_depth` 1 only the files in the folder itself. A bucket needs a request for a thousand
    files.
    """

    def listed(system: Any, path: str) -> tuple[list[str], dict[str, Stat]]:
        names, facts = list[str](), dict[str, Stat]()
        for found, info in system.find(path, maxdepth=max_depth, detail=True).items():
            if name := _relative(found, path, is_web(url)):
                names.append(name)
                if is_kept(name):
                    facts[name] = _entry(info, url)
        return names, facts

    return _call(url, listed)


def entries(url: str) -> dict[str, Stat]:
    """Return the files and folders in a folder at a URL, by name."""

    def listed(system: Any, path: str) -> dict[str, Stat]:
        found = ((_relative(info["name"].rstrip("/"), path, is_web(url)), info)
                 for info in system.ls(path, detail=True))  # fmt: skip
        return {name: _entry(info, url) for name, info in found if name}

    return _call(url, listed)


def _relative(name: str, folder: str, is_quoted: bool) -> str:
    """Return a listed path relative to the folder; empty for what stands for a folder."""
    # Some drivers list the folder itself, and empty objects that stand for folders.
    if name == folder or name.endswith("/"):
        return ""
    short = name.removeprefix(f"{folder.rstrip('/')}/")
    return unquote(short) if is_quoted else short


def _copied(url: str) -> BinaryIO:
    def copied(left: float) -> BinaryIO:
        target = tempfile.TemporaryFile(prefix="librehps-")  # noqa: SIM115 - the caller closes it
        try:
            web.copy(url, target, left)
        except StorageError:
            target.close()
            raise
        target.seek(0)
        return cast(BinaryIO, target)

    return retried(copied)


def _call(url: str, task: Callable[[Any, str], T]) -> T:
    return retried(lambda left: drivers.call(url, left, task))


def _entry(info: Mapping[str, Any], place: str) -> Stat:
    stamp = next((str(info[name]) for name in STAMP_FIELDS if info.get(name)), "")
    return Stat(place, info.get("size"), stamp, info.get("type") == "directory")


def _web_stat(url: str, seconds: float) -> Stat:
    # Not HEAD, for which a signed URL holds no signature; the body is not read.
    with web.opened(url, seconds, (0, 1)) as file:
        has_ranges = file.is_part or file.total == 0
        return Stat(url, file.total, file.stamp, False, has_ranges)


@contextmanager
def _local(place: Place) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        raise fault(place, error) from error
