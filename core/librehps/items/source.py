"""What a command was given to score: files, folders, manifests, shards, URLs, standard input."""

import os
import sqlite3
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from librehps.errors import UsageError
from librehps.items.files import Files
from librehps.items.manifest import Manifest
from librehps.items.remote import RemoteFiles
from librehps.items.rows import ColumnOptions
from librehps.items.stdin import Stdin
from librehps.items.tars import Tar, expand_braces
from librehps.media.archived import is_remote
from librehps.rowfiles import holds_rows
from librehps.scores.columns import OwnColumns, full_columns
from librehps.scores.shards import in_shard
from librehps.types import Item

RESERVED = frozenset(full_columns())


@dataclass(frozen=True)
class SourceOptions:
    """How sources are read; `shard` is (which, of how many), from 1."""

    columns: ColumnOptions = field(default_factory=ColumnOptions)
    root: str | None = None
    null: bool = False
    allow_remote: bool = False
    shard: tuple[int, int] | None = None


class Part(Protocol):
    """One kind of source; `has_prompts` where its rows may carry them.

    `container` is the file that its items are read from, where they have none of their own.
    """

    has_prompts: bool
    skipped: int

    @property
    def container(self) -> Path | None: ...

    def __iter__(self) -> Iterator[Item]: ...


class Source:
    """Every item of the paths, once; raises UsageError for what cannot be meant.

    `has_prompts` is whether any part carries prompts of its own.
    """

    def __init__(self, paths: Sequence[str], options: SourceOptions) -> None:
        self._options = options
        self._parts = list(_parts(list(paths), options))
        self._own = OwnColumns()
        self.has_prompts = any(part.has_prompts for part in self._parts)

    def items(self) -> Iterator[Item]:
        """Items in order, of the shard where one is asked for, which may hold none.

        Raises UsageError where two have one id, or there is no item in any shard.
        """
        is_empty = True
        for item in unique(item for part in self._parts for item in part):
            is_empty = False
            # Before the shard is taken: all shards of a source have the same columns.
            extra = self._own.see(item.extra)
            if self._options.shard is None or in_shard(item.id, *self._options.shard):
                yield replace(item, extra=extra) if extra else item
        if is_empty:
            raise self._nothing()

    def facts(self) -> Mapping[str, Any]:
        """What was seen on the way."""
        return {
            "skipped": self.skipped,
            "own_columns": self._own.kinds(),
            "has_prompts": self.has_prompts,
            "containers": [str(p.container.absolute()) for p in self._parts if p.container],
            "dropped": [n for p in self._parts if isinstance(p, Manifest) for n in p.dropped],
        }

    @property
    def skipped(self) -> int:
        """Files of kinds that we do not score."""
        return sum(part.skipped for part in self._parts)

    def _nothing(self) -> UsageError:
        files = [part for part in self._parts if isinstance(part, Files)]
        return files[0].nothing() if files else UsageError("there is nothing to score")


def _parts(paths: list[str], options: SourceOptions) -> Iterator[Part]:
    """One part for each manifest, shard, URL or stdin, and one for all files and folders."""
    files: list[Path] = []
    shards = [file.parent for path in paths if _is_shard(path) for file in _shards(path)]
    # Tars of one name in two folders are told apart by what they do not share.
    root = os.path.commonpath([file.absolute() for file in shards]) if shards else ""
    manifest = (options.columns, options.root, options.allow_remote, RESERVED)
    for path in paths:
        if path == "-":
            yield Stdin(sys.stdin.buffer, options.null, *manifest)
        elif is_remote(path):
            yield RemoteFiles(path)
        elif holds_rows(Path(path)):
            _check_exists(path)
            yield Manifest(Path(path), *manifest)
        elif _is_shard(path):
            for file in _shards(path):
                yield Tar(file, os.path.relpath(file, root), options.columns.prompt)
        else:
            files.append(Path(path))
    if files:
        yield Files(files)


def _is_shard(path: str) -> bool:
    return path.lower().endswith(".tar") and not is_remote(path)


def _shards(path: str) -> list[Path]:
    """The tars of a path with or without braces; raises UsageError where one is missing."""
    names = [path] if Path(path).exists() else expand_braces(path)
    for name in names:
        _check_exists(name)
    return [Path(name) for name in names]


def unique(items: Iterable[Item]) -> Iterator[Item]:
    """The items as they are; raises UsageError for an id that was there before."""
    base = sqlite3.connect("")
    try:
        base.execute("PRAGMA synchronous = OFF")
        base.execute("CREATE TABLE ids (id TEXT PRIMARY KEY) WITHOUT ROWID")
        for item in items:
            try:
                base.execute("INSERT INTO ids VALUES (?)", (item.id,))
            except sqlite3.IntegrityError:
                raise UsageError(
                    f"two items would have the id {item.id!r}",
                    hint="Name a column of ids with --id-column, or rename one of the files.",
                ) from None
            yield item
    finally:
        base.close()


def _check_exists(path: str) -> None:
    if not Path(path).is_file():
        raise UsageError(f"no such file or folder: {path}")
