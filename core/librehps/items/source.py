"""The items of a command's paths: files, folders, manifests, tars, URLs and standard input."""

import os
import sqlite3
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from librehps.choices import PromptFrom
from librehps.errors import UsageError
from librehps.items.files import Files
from librehps.items.manifest import Manifest
from librehps.items.passed_over import IN_TAR, PassedOver
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
    """Options for reading sources; `shard` is (number, count), numbered from 1.

    `sidecars`: .txt and .json files next to media are prompts, not skipped files.
    """

    columns: ColumnOptions = field(default_factory=ColumnOptions)
    root: str | None = None
    null: bool = False
    allow_remote: bool = False
    shard: tuple[int, int] | None = None
    sidecars: bool = False

    def for_prompts(self, prompt: str | None, prompt_from: PromptFrom | None) -> "SourceOptions":
        """Return the options with `sidecars` set, if prompts are read from such files."""
        return replace(self, sidecars=prompt is None and prompt_from in ("sidecar", "auto"))


class Part(Protocol):
    """A source of items of one kind: files and folders, a manifest, a tar, a URL or stdin.

    `has_prompts`: items may have a prompt. `skipped` counts unsupported files. `container` is the
    manifest or tar file, else None.
    """

    has_prompts: bool

    @property
    def skipped(self) -> int: ...

    @property
    def container(self) -> Path | None: ...

    def __iter__(self) -> Iterator[Item]: ...


class Source:
    """All items of the given paths; raises UsageError for an invalid path.

    `has_prompts`: some part may have items with a prompt.
    """

    def __init__(self, paths: Sequence[str], options: SourceOptions) -> None:
        self._options = options
        self._parts = list(_parts(list(paths), options))
        self._own = OwnColumns()
        self.has_prompts = any(part.has_prompts for part in self._parts)

    def items(self) -> Iterator[Item]:
        """Yield the items in order; with a shard, only its items, which may be none.

        Raises UsageError for a duplicate id, and if the paths have no item at all.
        """
        is_empty = True
        for item in unique(item for part in self._parts for item in part):
            is_empty = False
            # Before the shard filter, so that all shards of a source have the same columns.
            extra = self._own.see(item.extra)
            if self._options.shard is None or in_shard(item.id, *self._options.shard):
                yield replace(item, extra=extra) if extra else item
        if is_empty:
            raise self._nothing()

    def would_wait(self, seconds: float) -> bool:
        """Return whether the next item, of standard input, does not arrive within `seconds`."""
        return any(p.would_wait(seconds) for p in self._parts if isinstance(p, Stdin))

    def facts(self) -> Mapping[str, Any]:
        """Return facts of the items yielded so far: skipped files, own columns, containers."""
        return {
            "skipped": self.skipped,
            "passed_over": self.passed_over.record(),
            "own_columns": self._own.kinds(),
            "has_prompts": self.has_prompts,
            "containers": [str(p.container.absolute()) for p in self._parts if p.container],
            "dropped": [n for p in self._parts if isinstance(p, Manifest) for n in p.dropped],
        }

    @property
    def skipped(self) -> int:
        """Number of unsupported files that were skipped."""
        return sum(part.skipped for part in self._parts)

    @property
    def passed_over(self) -> PassedOver:
        """The files and folders that were passed over so far."""
        found = PassedOver()
        for part in self._parts:
            if isinstance(part, Files | RemoteFiles):
                found.merge(part.passed_over)
            elif part.skipped:
                found.add("", IN_TAR, part.skipped)
        return found

    def _nothing(self) -> UsageError:
        files = [part for part in self._parts if isinstance(part, Files)]
        return files[0].nothing() if files else UsageError("there is nothing to score")


def _parts(paths: list[str], options: SourceOptions) -> Iterator[Part]:
    """Yield a part for each manifest, tar, URL and stdin, and one for all files and folders."""
    files: list[Path] = []
    folders = [file.parent for path in paths if _is_tar(path) for file in _tars(path)]
    # Names relative to the common folder keep tars of the same name in two folders distinct.
    root = os.path.commonpath([file.absolute() for file in folders]) if folders else ""
    manifest = (options.columns, options.root, options.allow_remote, RESERVED)
    for path in paths:
        if path == "-":
            yield Stdin(sys.stdin.buffer, options.null, *manifest)
        elif is_remote(path):
            yield RemoteFiles(path)
        elif holds_rows(Path(path)):
            _check_exists(path)
            yield Manifest(Path(path), *manifest)
        elif _is_tar(path):
            for file in _tars(path):
                yield Tar(file, os.path.relpath(file, root), options.columns.prompt)
        else:
            files.append(Path(path))
    if files:
        yield Files(files, options.sidecars)


def _is_tar(path: str) -> bool:
    return path.lower().endswith(".tar") and not is_remote(path)


def _tars(path: str) -> list[Path]:
    """Return the tars of a path, with braces expanded; raises UsageError if a tar is missing."""
    names = [path] if Path(path).exists() else expand_braces(path)
    for name in names:
        _check_exists(name)
    return [Path(name) for name in names]


def unique(items: Iterable[Item]) -> Iterator[Item]:
    """Yield the items unchanged; raises UsageError for a duplicate id."""
    base = sqlite3.connect("")
    try:
        base.execute("PRAGMA synchronous = OFF")
        base.execute("CREATE TABLE ids (id TEXT PRIMARY KEY) WITHOUT ROWID")
        for item in items:
            try:
                base.execute("INSERT INTO ids VALUES (?)", (item.id,))
            except sqlite3.IntegrityError:
                raise UsageError(
                    f"duplicate id {item.id!r}",
                    hint="Use a column of unique ids with --id-column, or rename one file.",
                ) from None
            yield item
    finally:
        base.close()


def _check_exists(path: str) -> None:
    if not Path(path).is_file():
        raise UsageError(f"no such file or folder: {path}")
