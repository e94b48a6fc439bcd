"""Paths of a command as media, manifests or tars, by name or found in folders and globs.

A folder, or a glob, with any image or video is a place of media: manifests and tars in it are
skipped. Without media its tars are read, without tars its manifests, in the order of their names.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeVar

from librehps.errors import UsageError
from librehps.items.passed_over import HIDDEN, PassedOver
from librehps.items.tars import BRACES, expand_braces, names_tar
from librehps.items.trees import Parts, Tree, is_pattern, tree_of
from librehps.media.media import kind_by_name
from librehps.paths import matches
from librehps.rowfiles import RowFile, holds_rows, names_rows
from librehps.scores.markers import IGNORED_PREFIXES, JOURNAL_SUFFIXES
from librehps.storage.at_once import at_once
from librehps.storage.url_path import AnyPath, UrlPath, as_path, common_depth
from librehps.types import Item

T = TypeVar("T")

# Reasons to pass over a table.
BESIDE_TARS, EMPTY = "tables beside tars", "empty tables"


@dataclass(frozen=True)
class Place:
    """A path and what it is; `folder` leads from a searched folder to a manifest found in it.

    `rows` is the manifest, if it was opened; `tree` has the files of a folder that was searched.
    """

    kind: Literal["stdin", "manifest", "tar", "files"]
    path: AnyPath
    folder: str = ""
    rows: RowFile | None = field(default=None, compare=False, repr=False)
    tree: Tree | None = field(default=None, compare=False, repr=False)


@dataclass
class Skipped:
    """Files that a search for manifests or tars passed over: a source of no items."""

    passed_over: PassedOver = field(default_factory=PassedOver)
    has_prompts = False
    container = None

    def __iter__(self) -> Iterator[Item]:
        return iter(())


def places_of(text: str, skipped: Skipped, is_only: bool = False) -> Iterator[Place]:
    """Yield what a path is; raises UsageError for a missing table and a glob without a match.

    A .json file that holds no rows is no media either: as the only path, its reader says what is
    expected. Among others, as from a pattern of a shell, it costs its own row.
    """
    if text == "-":
        yield Place("stdin", Path(text))
        return
    for path in _expanded(text):
        if path.is_dir() or is_pattern(path):
            yield from _search(path, skipped)
        elif holds_rows(path) or names_tar(path.name) or (is_only and names_rows(path)):
            if not path.is_file():
                raise UsageError(f"no such file or folder: {path}")
            yield Place("tar" if names_tar(path.name) else "manifest", path)
        else:
            yield Place("files", path)


def _expanded(text: str) -> list[AnyPath]:
    """Return the tables or tars that braces stand for; of any other path, the path."""
    path = as_path(text)
    if not (names_tar(path.name) or names_rows(path)) or not BRACES.search(text):
        return [path]
    if os.path.lexists(path) if isinstance(path, Path) else path.exists():
        return [path]
    paths = [as_path(name) for name in expand_braces(text)]
    # What is at a URL is asked once, and remembered.
    at_once(UrlPath.exists, [one for one in paths if isinstance(one, UrlPath)])
    return paths


def _search(path: AnyPath, skipped: Skipped) -> list[Place]:
    """Return the manifests or tars of a folder or glob, or the path itself if it has media."""
    tree, passed = tree_of(path), PassedOver()
    as_media = [Place("files", path, tree=tree)]
    is_empty, tables = True, list[Parts]()
    for parts in tree.files(passed):
        if not matches(parts, tree.pattern):
            continue
        is_empty, name = False, parts[-1]
        if name.startswith("."):
            passed.add(name, HIDDEN)
        elif kind_by_name(name):
            return as_media
        elif not _is_kept_apart(parts) and (names_tar(name) or names_rows(name)):
            tables.append(parts)
        else:
            passed.add(name)
    if is_empty and tree.pattern:
        raise UsageError(
            f"no file matches {path}", hint="In a pattern, ** stands for any number of folders."
        )
    files = {tree.file(parts): "/".join(parts[:-1]) or "." for parts in tables}
    chosen = _tars_or_manifests(files, passed)
    if chosen:
        skipped.passed_over.merge(passed)
    return chosen or as_media


def _tars_or_manifests(files: Mapping[AnyPath, str], passed: PassedOver) -> list[Place]:
    """Return the tars, or without a tar the manifests; the others are added to `passed`."""
    tars = [file for file in files if names_tar(file.name)]
    others = [file for file in files if not names_tar(file.name)]
    held = []
    for file, holds in zip(others, _each(holds_rows, others), strict=True):
        if holds:
            held.append(file)
        else:
            passed.add(file.name)
    if tars:
        for file in held:
            passed.add(file.name, BESIDE_TARS)
        return [Place("tar", file, files[file]) for file in tars]
    places = []
    for file, rows in zip(held, _each(_open_table, held), strict=True):
        # Writers of many parts leave some of them empty.
        if rows.schema() is None:
            passed.add(file.name, EMPTY)
        else:
            places.append(Place("manifest", file, files[file], rows))
    return places


def _each(call: Callable[[AnyPath], T], files: Sequence[AnyPath]) -> Iterable[T]:
    """Return the results for files of one tree; at URLs several calls wait at once."""
    is_remote = bool(files) and isinstance(files[0], UrlPath)
    return at_once(call, files) if is_remote else map(call, files)


def open_tables(places: Sequence[Place]) -> list[RowFile]:
    """Return the row files of manifests; their columns are read, at URLs several at once."""
    return at_once(lambda place: place.rows or _open_table(place.path), places)


def relative_names(files: Sequence[AnyPath]) -> list[str]:
    """Return names that keep files of the same name in two folders distinct.

    Names of files on several hosts or disks are whole paths and URLs.
    """
    local = [file for file in files if isinstance(file, Path)]
    if len(local) == len(files):
        places = [os.path.abspath(file) for file in local]  # noqa: PTH100 - links stay
        root = os.path.commonpath([os.path.dirname(place) for place in places]) if places else ""  # noqa: PTH120
        return [os.path.relpath(place, root).replace(os.sep, "/") for place in places]
    urls = [file for file in files if isinstance(file, UrlPath)]
    if local or len({url.origin for url in urls}) > 1:
        return [str(file.absolute()) for file in files]
    depth = common_depth([url.parent for url in urls])
    return ["/".join(url.parts[depth:]) or url.name for url in urls]


def _open_table(file: AnyPath) -> RowFile:
    rows = RowFile(file)
    rows.schema()
    return rows


def _is_kept_apart(parts: tuple[str, ...]) -> bool:
    """Return whether a name is a marker, as of Spark, or lies in the journal of a run."""
    return any(
        part.startswith(IGNORED_PREFIXES) or part.endswith(JOURNAL_SUFFIXES) for part in parts
    )
