"""Output files and folders, local or at URLs: whole files are written, listed and deleted alike.

Local functions raise OSError, those at a URL StorageError.
"""

import re
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from librehps.errors import StorageError, StorageNetworkError, StorageNotFoundError, UsageError
from librehps.files import growing, write_whole
from librehps.storage import writes
from librehps.storage.places import is_remote, shown
from librehps.storage.url_path import AnyPath, UrlPath

LOCAL_SCHEME = "file://"
URL_HINT = "Use a folder or a file in a bucket, such as s3://bucket/scores, or a local path."
# Drivers and servers differ in what they make of these names.
NO_NAMES = frozenset(("", ".", ".."))
# What `Path` makes of a URL.
_CUT_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")


def as_output(output: str | AnyPath) -> AnyPath:
    """Return the path of an output; raises UsageError for a URL that cannot be written."""
    if isinstance(output, Path) and _CUT_URL.match(str(output)):
        raise UsageError(f"{output}: expected a URL as text, got a Path", hint='Give "s3://.."')
    place = output.url if isinstance(output, UrlPath) else str(output)
    if not is_remote(place):
        return Path(output) if isinstance(output, str) else output
    if place.startswith(LOCAL_SCHEME) and "::" not in place:
        return Path(place.removeprefix(LOCAL_SCHEME))
    if place.lower().startswith(("http://", "https://")):
        problem = "a web server is for reading only"
    elif "::" in place:
        problem = "a chain of URLs is for reading only"
    elif shown(place) != place:
        problem = "a URL with credentials cannot be an output: set them in the environment"
    elif not NO_NAMES.isdisjoint(UrlPath(place.rstrip("/")).parts[1:]):
        problem = "names cannot be empty, . or .."
    else:
        try:
            writes.check_driver(place)
        except StorageError as error:
            raise UsageError(str(error), hint=error.hint) from error
        return UrlPath(place.rstrip("/"))
    raise UsageError(f"{shown(place)}: {problem}", hint=URL_HINT)


def make_folder(folder: AnyPath) -> None:
    """Create a folder if there is none; a bucket has none, its files have long names."""
    if isinstance(folder, Path):
        folder.mkdir(exist_ok=True)


def put(path: AnyPath, content: bytes, partial: Path | None = None) -> None:
    """Write or replace a file: complete, or not at all.

    `partial` is the temporary file, where several processes may write the same local file.
    """
    if isinstance(path, UrlPath):
        writes.write(path.url, content)
    elif partial is None:
        write_whole(path, content)
    else:
        with growing(path, partial):
            partial.write_bytes(content)


def remove(paths: Iterable[AnyPath]) -> None:
    """Delete files; those that do not exist are no error."""
    found = list(paths)
    for path in found:
        if isinstance(path, Path):
            path.unlink(missing_ok=True)
    writes.delete(path.url for path in found if isinstance(path, UrlPath))


def listed(folder: AnyPath) -> list[AnyPath]:
    """Return the files and folders in a folder; none if it does not exist, or is a file."""
    if isinstance(folder, Path):
        return list(folder.iterdir()) if folder.is_dir() else []
    try:
        # Asked again each time.
        return [*UrlPath(folder.url).iterdir()]
    except StorageNotFoundError:
        return []


def content_of(path: AnyPath) -> bytes | None:
    """Return the content of a file, None if it does not exist."""
    try:
        return path.read_bytes()
    except (FileNotFoundError, StorageNotFoundError):
        return None


def remove_below(folder: AnyPath) -> None:
    """Delete all files below a folder."""
    # Folder by folder, each by one request: one request in three may fail.
    found = listed(folder)
    for inside in found:
        if inside.is_dir():
            remove_below(inside)
    remove(file for file in found if not file.is_dir())


@contextmanager
def uploading(output: UrlPath, beside: UrlPath) -> Iterator[Path]:
    """Yield a temporary local file of the same name, which is uploaded after the block.

    A file that the block writes next to it, with the name of `beside`, is uploaded first; without
    one, an older `beside` is deleted.
    """
    with tempfile.TemporaryDirectory(prefix="librehps-") as folder:
        local = Path(folder, output.name)
        yield local
        companion = Path(folder, beside.name)
        if companion.exists():
            writes.upload(companion, beside.url)
        elif beside.exists():
            writes.delete([beside.url])
        writes.upload(local, output.url)


def check_writable(folder: UrlPath, name: str) -> None:
    """Raise UsageError where a file cannot be created in a folder; a network error as it is."""
    try:
        probe = (folder / name).url
        writes.write(probe, b"")
        writes.delete([probe])
    except StorageNetworkError:
        raise
    except StorageError as error:
        raise UsageError(str(error), hint=error.hint or URL_HINT) from error
