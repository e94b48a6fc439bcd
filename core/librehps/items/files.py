"""Items from files, folders and glob patterns."""

import fnmatch
import os
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from librehps.errors import UsageError
from librehps.files import printable
from librehps.items.folders import walk
from librehps.items.passed_over import HIDDEN, UNMATCHED, PassedOver
from librehps.media.containers import IMAGE_SUFFIXES, VIDEO_SUFFIXES, kind_of
from librehps.media.media import kind_by_name
from librehps.paths import glob_start, start_below
from librehps.types import Item

SUFFIXES = IMAGE_SUFFIXES | VIDEO_SUFFIXES


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
        self.passed_over = PassedOver()
        self._paths, self._sidecars = paths, sidecars
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
                yield from self._found(folder, names, len(start.parts), pattern)

    def nothing(self) -> UsageError:
        """Return the error for paths without an item."""
        notes = [note.removeprefix("warning: ") for note in self.passed_over.notes()]
        paths = ", ".join(map(str, self._paths))
        return UsageError(
            f"nothing to score in {paths}: {'; '.join(notes) or 'no files'}",
            hint=f"Supported suffixes: {' '.join(sorted(SUFFIXES))}.",
        )

    def _found(
        self, folder: Path, names: list[str], depth: int, pattern: tuple[str, ...]
    ) -> Iterator[Item]:
        """Yield the items among the files of a folder, and count the others."""
        above = folder.parts[depth:]
        media, identity = start_below(str(folder), os.sep), start_below(self._id(folder))
        others = []
        for name in names:
            kind = kind_by_name(name)
            if name.startswith("."):
                self.passed_over.add(name, HIDDEN)
            elif kind is None:
                others.append(name)
            elif matches((*above, name), pattern):
                yield Item(identity + printable(name), media + name, None, kind)
            else:
                self.passed_over.add(name, UNMATCHED)
        for name in set(others) - self._prompts(names, others):
            self.passed_over.add(name)

    def _prompts(self, names: list[str], others: list[str]) -> set[str]:
        """Return the files that are read as prompts of others: `a.txt`, else `a.json`."""
        if not self._sidecars:
            return set()
        stems = {Path(name).stem for name in names if kind_by_name(name)}
        texts = {name for name in others if name.endswith(".txt") and name[:-4] in stems}
        stems -= {name[:-4] for name in texts}
        return texts | {name for name in others if name.endswith(".json") and name[:-5] in stems}

    def _id(self, path: Path) -> str:
        return printable(os.path.relpath(path, self._root).replace(os.sep, "/"))


def file_item(path: Path) -> Item:
    """Return the item of one file, with the path as its id; raises UsageError for other paths."""
    if not os.path.lexists(path):
        raise UsageError(f"no such file: {path}")
    if path.is_dir():
        raise UsageError(
            f"{path} is a folder; expected a file", hint="For folders use `librehps best-of-n`."
        )
    return Item(printable(str(path)), path, None, kind_of(path))


def matches(parts: tuple[str, ...], pattern: tuple[str, ...]) -> bool:
    """Return whether the parts of a path match a glob pattern; `**` is any number of folders."""
    if not pattern:
        return True
    head, *rest = pattern
    if head == "**":
        return any(matches(parts[at:], tuple(rest)) for at in range(len(parts) + 1)) and bool(parts)
    if not parts or not fnmatch.fnmatchcase(parts[0], head):
        return False
    return matches(parts[1:], tuple(rest)) if rest else len(parts) == 1


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
