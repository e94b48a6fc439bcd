"""Paths on the command line become items."""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from librehps.errors import UsageError
from librehps.media.files import IMAGE_SUFFIXES, VIDEO_SUFFIXES, kind_of
from librehps.pipeline.row import printable
from librehps.types import Item

SUFFIXES = IMAGE_SUFFIXES | VIDEO_SUFFIXES


@dataclass(frozen=True)
class Listing:
    """Items in order of their paths, without prompts; `skipped` files were not media."""

    items: list[Item]
    skipped: int


def list_media(paths: list[Path]) -> Listing:
    """Files as named; folders searched for the suffixes we know, but for hidden files and links.

    An id is the path below the one folder given, else below the folder that all paths share.
    Raises UsageError for a missing path, a file named twice, or where there is nothing to score.
    """
    missing = [str(path) for path in paths if not os.path.lexists(path)]
    if missing:
        raise UsageError(f"no such file or folder: {', '.join(missing)}")
    files: list[Path] = []
    skipped = 0
    for path in paths:
        if not path.is_dir():
            files.append(path)
            continue
        for found in _walk(path):
            if found.suffix.lower() in SUFFIXES and not found.name.startswith("."):
                files.append(found)
            else:
                skipped += 1
    if not files:
        raise UsageError(
            f"nothing to score in {', '.join(map(str, paths))}: {skipped} files of other kinds",
            hint=f"Known are {' '.join(sorted(SUFFIXES))}.",
        )
    root = _root(paths)
    items = [_item(path, root) for path in _unique(files)]
    if len({item.id for item in items}) < len(items):
        ids = Counter(item.id for item in items)
        twice = next(name for name, count in ids.items() if count > 1)
        raise UsageError(f"two files would have the id {twice!r}", hint="Rename one of them.")
    return Listing(items, skipped)


def file_item(path: Path) -> Item:
    """One file as an item, its path as its id; raises UsageError where it is no file."""
    if not os.path.lexists(path):
        raise UsageError(f"no such file: {path}")
    if path.is_dir():
        raise UsageError(f"{path} is a folder", hint="`librehps best-of-n` takes folders.")
    return Item(printable(str(path)), path, None, kind_of(path))


def _walk(folder: Path) -> Iterator[Path]:
    """Files below, sorted by name; hidden folders are passed over.

    Links to folders are given like files and not followed, so that no loop is.
    """

    def fail(error: OSError) -> None:
        raise UsageError(f"folder {error.filename} cannot be read: {error.strerror}") from error

    for parent, folders, names in os.walk(folder, onerror=fail):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        links = [name for name in folders if Path(parent, name).is_symlink()]
        yield from (Path(parent, name) for name in sorted([*names, *links]))


def _unique(files: list[Path]) -> list[Path]:
    seen: set[str] = set()
    for path in files:
        place = os.path.abspath(path)  # noqa: PTH100 - a link is not its target
        if place in seen:
            raise UsageError(f"{path} is named twice")
        seen.add(place)
    return files


def _root(paths: list[Path]) -> str:
    places = [os.path.abspath(path) for path in paths]  # noqa: PTH100
    if len(paths) == 1:
        return places[0] if paths[0].is_dir() else os.path.dirname(places[0])  # noqa: PTH120
    parents = [p if Path(p).is_dir() else os.path.dirname(p) for p in places]  # noqa: PTH120
    return os.path.commonpath(parents)


def _item(path: Path, root: str) -> Item:
    name = os.path.relpath(path, root).replace(os.sep, "/")
    return Item(printable(name), path, None, kind_of(path))
