"""Items from files, folders and glob patterns."""

import os
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from librehps.errors import UsageError
from librehps.files import found_path, path_text, printable
from librehps.items.folders import walk
from librehps.items.passed_over import PassedOver
from librehps.items.search import Search, nothing_in
from librehps.media.archived import Remote
from librehps.media.containers import kind_of
from librehps.media.media import kind_by_name
from librehps.paths import glob_start, start_below
from librehps.storage.url_path import AnyPath, UrlPath
from librehps.types import Item


class Files:
    """The items of files, and of folders and globs searched for supported suffixes.

    Other and hidden files and folders, links to folders and folders that cannot be read are
    `passed_over`; with `sidecars` not the .txt and .json files that are read as prompts. An id is
    the path relative to the only folder given, else to the common parent folder. Raises UsageError
    for a path that is missing or given twice.
    """

    has_prompts = False
    container = None

    def __init__(self, paths: list[Path], sidecars: bool = False) -> None:
        paths = [Path(found_path(str(path)) or path) for path in paths]
        self.passed_over = PassedOver()
        self._paths, self._search = paths, Search(self.passed_over, sidecars)
        self._starts = [glob_start(path) for path in paths]
        missing = [str(path) for path in self._starts if not os.path.lexists(path)]
        if missing:
            raise UsageError(f"no such file or folder: {', '.join(missing)}")
        _check_distinct(paths)
        self._root = _root(self._starts)

    def __iter__(self) -> Iterator[Item]:
        for path, start in zip(self._paths, self._starts, strict=True):
            if not start.is_dir():
                yield Item(self._id(start), start, None, kind_of(start))
                continue
            pattern = path.parts[len(start.parts) :]
            for folder, names in walk(start, self.passed_over, pattern):
                media, identity = start_below(str(folder), os.sep), start_below(self._below(folder))
                above = folder.parts[len(start.parts) :]
                for name, kind in self._search.media(above, names, pattern):
                    place = media + name
                    yield Item(path_text(identity + name, place), place, None, kind)

    def nothing(self) -> UsageError:
        """Return the error for paths without an item."""
        return nothing_in(self._paths, self.passed_over)

    def _id(self, path: Path) -> str:
        return path_text(self._below(path), path)

    def _below(self, path: Path) -> str:
        return os.path.relpath(path, self._root).replace(os.sep, "/")


def file_item(path: AnyPath) -> Item:
    """Return the item of one file, with the path as its id; raises UsageError for other paths."""
    if isinstance(path, UrlPath):
        if not path.exists():
            raise UsageError(f"no such file: {path}")
        return Item(printable(path), Remote(path.url), None, kind_by_name(path.name))
    path = Path(found_path(str(path)) or path)
    if not os.path.lexists(path):
        raise UsageError(f"no such file: {path}")
    if path.is_dir():
        raise UsageError(
            f"{path} is a folder; expected a file",
            hint="Give its files, or use `librehps best-of-n` for folders.",
        )
    return Item(path_text(str(path)), path, None, kind_of(path))


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
