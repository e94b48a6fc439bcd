"""The files below a folder or a glob pattern, on disk or at a URL, in one order."""

import sys
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Protocol

from librehps.errors import StorageNotFoundError, UsageError
from librehps.items.folders import walk
from librehps.items.passed_over import PassedOver
from librehps.paths import glob_start, is_glob
from librehps.rowfiles import names_rows
from librehps.storage.store import Stat
from librehps.storage.url_path import AnyPath, UrlPath

Parts = tuple[str, ...]


class Tree(Protocol):
    """The files below a folder; `pattern` are the parts of a glob pattern below the folder.

    The order is that of a search: of each folder first its files, sorted, then its folders.
    """

    pattern: Parts

    def files(self, passed_over: PassedOver) -> Iterator[Parts]:
        """Yield each file by its folders and name below the start, except in hidden folders."""

    def file(self, parts: Parts) -> AnyPath: ...


def tree_of(path: AnyPath) -> "Tree":
    """Return the files of a folder or pattern; raises UsageError if the folder is missing."""
    return LocalTree(path) if isinstance(path, Path) else UrlTree(path)


def is_pattern(path: AnyPath) -> bool:
    """Return whether a path or URL is a glob pattern, and not the name of a file."""
    return is_glob(path) if isinstance(path, Path) else path.is_pattern()


class LocalTree:
    """The files below a local folder or pattern."""

    def __init__(self, path: Path) -> None:
        self._start = glob_start(path)
        self.pattern = path.parts[len(self._start.parts) :]
        if not self._start.is_dir():
            raise UsageError(f"no such file or folder: {path}")

    def files(self, passed_over: PassedOver) -> Iterator[Parts]:
        depth = len(self._start.parts)
        for folder, names in walk(self._start, passed_over, self.pattern):
            above = folder.parts[depth:]
            yield from ((*above, name) for name in names)

    def file(self, parts: Parts) -> Path:
        return self._start.joinpath(*parts)


class UrlTree:
    """The files below a URL, from one listing."""

    def __init__(self, path: UrlPath) -> None:
        self.start, self.pattern = path.split_glob()
        # One listing of all folders needs fewer requests than one of each folder.
        max_depth = 1 if len(self.pattern) == 1 and "**" not in self.pattern else None
        # Facts of a million pictures would take much memory, those of tables save requests.
        try:
            found = self.start.find(max_depth, _is_table)
        except StorageNotFoundError:
            found = [], {}
        self._names: Sequence[str] = found[0]
        self._facts = found[1]
        if not self._names and not self.start.is_dir():
            raise UsageError(f"no such file or folder: {path}")

    def files(self, passed_over: PassedOver) -> Iterator[Parts]:
        for folder, names in self.folders(passed_over):
            yield from ((*folder, name) for name in names)

    def folders(self, passed_over: PassedOver) -> Iterator[tuple[Parts, list[str]]]:
        """Yield the parts of each folder and the names of its files, as `walk` does on disk."""
        hidden: set[Parts] = set()
        found: list[Parts] = []
        is_deep = not self.pattern or "**" in self.pattern
        depth = sys.maxsize if is_deep else len(self.pattern)
        for name in self._names:
            parts = tuple(name.split("/"))
            at = next((at for at, part in enumerate(parts[:-1]) if part.startswith(".")), None)
            if at is not None and at + 1 < depth:
                hidden.add(parts[: at + 1])
            elif at is None and len(parts) <= depth:
                found.append(parts)
        passed_over.hidden_folders += len(hidden)
        found.sort(key=_search_order)
        for folder, files in groupby(found, lambda parts: parts[:-1]):
            yield folder, [parts[-1] for parts in files]

    def file(self, parts: Parts) -> UrlPath:
        name = "/".join(parts)
        url = self.start.url_of(name)
        return UrlPath(url, self._facts.get(name, Stat(url, None, "")))


def _is_table(name: str) -> bool:
    return name.lower().endswith((".tar", ".parquet")) or (
        names_rows(name) and not name.endswith(".json")
    )


def _search_order(parts: Parts) -> tuple[tuple[bool, str], ...]:
    return (*((True, part) for part in parts[:-1]), (False, parts[-1]))
