"""Items from files, folders and glob patterns."""

import fnmatch
import os
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from librehps.errors import UsageError
from librehps.files import printable
from librehps.media.containers import IMAGE_SUFFIXES, VIDEO_SUFFIXES, kind_of
from librehps.media.media import kind_by_name
from librehps.types import Item

SUFFIXES = IMAGE_SUFFIXES | VIDEO_SUFFIXES
GLOB_CHARS = frozenset("*?[")


class Files:
    """The items of files, and of folders and globs searched for supported suffixes.

    Hidden files and folders are skipped; links to folders are not followed. An id is the path
    relative to the only folder given, else to the common parent folder. Raises UsageError for a
    path that is missing or given twice. `skipped` counts the other files found.
    """

    has_prompts = False
    container = None

    def __init__(self, paths: list[Path]) -> None:
        self.skipped = 0
        self._paths = paths
        self._starts = [_start(path) for path in paths]
        missing = [str(path) for path in self._starts if not os.path.lexists(path)]
        if missing:
            raise UsageError(f"no such file or folder: {', '.join(missing)}")
        _check_distinct(paths)
        self._root = _root(self._starts)

    def __iter__(self) -> Iterator[Item]:
        for path, start in zip(self._paths, self._starts, strict=True):
            if not start.is_dir():
                yield self._item(start, kind_of(start))
                continue
            pattern = path.parts[len(start.parts) :]
            for found in _walk(start):
                kind = None if found.name.startswith(".") else kind_by_name(found.name)
                if kind is None or not _matches(found.parts[len(start.parts) :], pattern):
                    self.skipped += 1
                else:
                    yield self._item(found, kind)

    def nothing(self) -> UsageError:
        """Return the error for paths without an item."""
        return UsageError(
            f"nothing to score in {', '.join(map(str, self._paths))}: "
            f"{self.skipped} files of other kinds",
            hint=f"Supported suffixes: {' '.join(sorted(SUFFIXES))}.",
        )

    def _item(self, path: Path, kind: str | None) -> Item:
        name = os.path.relpath(path, self._root).replace(os.sep, "/")
        return Item(printable(name), path, None, kind)  # type: ignore[arg-type]


def file_item(path: Path) -> Item:
    """Return the item of one file, with the path as its id; raises UsageError for other paths."""
    if not os.path.lexists(path):
        raise UsageError(f"no such file: {path}")
    if path.is_dir():
        raise UsageError(
            f"{path} is a folder; expected a file", hint="For folders use `librehps best-of-n`."
        )
    return Item(printable(str(path)), path, None, kind_of(path))


def _start(path: Path) -> Path:
    """Return the path itself, or for a glob the folder above its first wildcard."""
    if os.path.lexists(path) or GLOB_CHARS.isdisjoint(str(path)):
        return path
    start = Path()
    for part in path.parts:
        # A folder may have brackets in its name.
        if not GLOB_CHARS.isdisjoint(part) and not os.path.lexists(start / part):
            break
        start /= part
    return start


def _matches(parts: tuple[str, ...], pattern: tuple[str, ...]) -> bool:
    """Return whether the parts of a path match a glob pattern; `**` is any number of folders."""
    if not pattern:
        return True
    head, *rest = pattern
    if head == "**":
        return any(_matches(parts[at:], tuple(rest)) for at in range(len(parts) + 1)) and bool(
            parts
        )
    if not parts or not fnmatch.fnmatchcase(parts[0], head):
        return False
    return _matches(parts[1:], tuple(rest)) if rest else len(parts) == 1


def _walk(folder: Path) -> Iterator[Path]:
    """Yield the files below a folder, sorted by name; hidden folders are skipped.

    A link to a folder is yielded like a file and not followed, to prevent loops.
    """

    def fail(error: OSError) -> None:
        raise UsageError(f"folder {error.filename} cannot be read: {error.strerror}") from error

    for parent, folders, names in os.walk(folder, onerror=fail):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        links = [name for name in folders if Path(parent, name).is_symlink()]
        yield from (Path(parent, name) for name in sorted([*names, *links]))


def _check_distinct(paths: list[Path]) -> None:
    """Raise UsageError if a path is given twice, or lies inside another."""
    places = sorted((os.path.abspath(path), path) for path in paths)  # noqa: PTH100 - links stay
    for (one, _), (other, path) in pairwise(places):
        if other == one or other.startswith(one.rstrip(os.sep) + os.sep):
            raise UsageError(f"{path} is given twice")


def _root(paths: list[Path]) -> str:
    places = [os.path.abspath(path) for path in paths]  # noqa: PTH100
    if len(paths) == 1:
        return places[0] if paths[0].is_dir() else os.path.dirname(places[0])  # noqa: PTH120
    parents = [p if Path(p).is_dir() else os.path.dirname(p) for p in places]  # noqa: PTH120
    return os.path.commonpath(parents)
