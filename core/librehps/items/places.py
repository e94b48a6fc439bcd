"""Paths of a command as media, manifests or tars, by name or found in folders and globs.

A folder, or a glob, with any image or video is a place of media: manifests and tars in it are
skipped. Without media its tars are read, without tars its manifests, in the order of their names.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from librehps.errors import UsageError
from librehps.items.files import matches
from librehps.items.folders import walk
from librehps.items.passed_over import HIDDEN, PassedOver
from librehps.items.tars import BRACES, expand_braces, names_tar
from librehps.media.archived import is_remote
from librehps.media.media import kind_by_name
from librehps.paths import glob_start, is_glob
from librehps.rowfiles import RowFile, holds_rows, names_rows
from librehps.scores.markers import IGNORED_PREFIXES, JOURNAL_SUFFIXES
from librehps.types import Item

# Reasons to pass over a table.
BESIDE_TARS, EMPTY = "tables beside tars", "empty tables"


@dataclass(frozen=True)
class Place:
    """A path and what it is; `folder` leads from a searched folder to a manifest found in it."""

    kind: Literal["stdin", "url", "manifest", "tar", "files"]
    path: str
    folder: str = ""


@dataclass
class Skipped:
    """Files that a search for manifests or tars passed over: a source of no items."""

    passed_over: PassedOver = field(default_factory=PassedOver)
    has_prompts = False
    container = None

    def __iter__(self) -> Iterator[Item]:
        return iter(())


def places_of(path: str, skipped: Skipped) -> Iterator[Place]:
    """Yield what a path is; raises UsageError for a missing table and a glob without a match."""
    if path == "-" or is_remote(path):
        yield Place("stdin" if path == "-" else "url", path)
        return
    is_table = names_tar(path) or names_rows(path)
    has_braces = is_table and not os.path.lexists(path) and BRACES.search(path)
    for name in expand_braces(path) if has_braces else [path]:
        if Path(name).is_dir() or is_glob(name):
            yield from _search(name, skipped)
        elif holds_rows(Path(name)) or names_tar(name):
            if not Path(name).is_file():
                raise UsageError(f"no such file or folder: {name}")
            yield Place("tar" if names_tar(name) else "manifest", name)
        else:
            yield Place("files", name)


def _search(path: str, skipped: Skipped) -> list[Place]:
    """Return the manifests or tars of a folder or glob, or the path itself if it has media."""
    start = glob_start(Path(path))
    if not start.is_dir():
        raise UsageError(f"no such file or folder: {path}")
    pattern, found, passed = Path(path).parts[len(start.parts) :], list[Path](), PassedOver()
    is_empty = True
    for file in (folder / name for folder, names in walk(start, passed, pattern) for name in names):
        parts = file.parts[len(start.parts) :]
        if not matches(parts, pattern):
            continue
        is_empty = False
        if file.name.startswith("."):
            passed.add(file.name, HIDDEN)
        elif kind_by_name(file.name):
            return [Place("files", path)]
        elif not _is_kept_apart(parts) and (names_tar(file) or holds_rows(file)):
            found.append(file)
        else:
            passed.add(file.name)
    if is_empty and pattern:
        raise UsageError(
            f"no file matches {path}", hint="In a pattern, ** stands for any number of folders."
        )
    has_tars = any(map(names_tar, found))
    chosen = [file for file in found if names_tar(file) or (not has_tars and _has_rows(file))]
    if not chosen:
        return [Place("files", path)]
    kept = set(chosen)
    for file in found:
        if file not in kept:
            passed.add(file.name, BESIDE_TARS if has_tars else EMPTY)
    skipped.passed_over.merge(passed)
    return [
        Place(
            "tar" if has_tars else "manifest",
            str(file),
            os.path.relpath(file.parent, start).replace(os.sep, "/"),
        )
        for file in chosen
    ]


def _is_kept_apart(parts: tuple[str, ...]) -> bool:
    """Return whether a name is a marker, as of Spark, or lies in the journal of a run."""
    return any(
        part.startswith(IGNORED_PREFIXES) or part.endswith(JOURNAL_SUFFIXES) for part in parts
    )


def _has_rows(file: Path) -> bool:
    """Return whether a table has columns; writers of many parts leave some of them empty."""
    return RowFile(file).schema() is not None
