"""The items of a command's paths: files, folders, manifests, tars, URLs and standard input."""

import posixpath
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

from librehps.choices import PromptFrom
from librehps.errors import StorageError, UsageError
from librehps.files import printable
from librehps.items.column_names import no_prompt
from librehps.items.files import Files
from librehps.items.ids import NumberedIds, SeenIds, check_unique, unique
from librehps.items.item_columns import ItemColumns, blocks, columns_of
from librehps.items.manifest import Manifest
from librehps.items.passed_over import PassedOver
from librehps.items.places import Place, Skipped, open_tables, places_of, relative_names
from librehps.items.remote import RemoteFiles
from librehps.items.rows import ColumnOptions
from librehps.items.stdin import Stdin
from librehps.items.tars import Tar
from librehps.items.trees import UrlTree
from librehps.scores.columns import INDEX, OwnColumns, full_columns
from librehps.scores.shards import in_shard
from librehps.storage.at_once import at_once
from librehps.storage.drivers import NO_DRIVER
from librehps.storage.url_path import AnyPath, UrlPath, address
from librehps.types import Item

RESERVED = frozenset((*full_columns(), INDEX))


@dataclass(frozen=True)
class SourceOptions:
    """Options for reading sources; `shard` is (number, count), numbered from 1.

    `sidecars`: .txt and .json files next to media are prompts, not skipped files. `watched`: the
    paths are folders of media, also those that have no media yet.
    """

    columns: ColumnOptions = field(default_factory=ColumnOptions)
    root: str | None = None
    null: bool = False
    allow_remote: bool = False
    shard: tuple[int, int] | None = None
    sidecars: bool = False
    watched: bool = False

    def for_prompts(self, prompt: str | None, prompt_from: PromptFrom | None) -> "SourceOptions":
        """Return the options with `sidecars` set, if prompts are read from such files."""
        return replace(self, sidecars=prompt is None and prompt_from in ("sidecar", "auto"))


class Part(Protocol):
    """A source of items of one kind: files and folders, a manifest, a tar or stdin.

    `has_prompts`: items may have a prompt. `passed_over` counts and names what has no item.
    `container` is the manifest or tar file, else None.
    """

    has_prompts: bool
    passed_over: PassedOver

    @property
    def container(self) -> AnyPath | None: ...

    def __iter__(self) -> Iterator[Item]: ...


class Source:
    """All items of the given paths; raises UsageError for an invalid path.

    `has_prompts`: some part may have items with a prompt.
    """

    def __init__(self, paths: Sequence[str], options: SourceOptions) -> None:
        self._options = options
        try:
            self._parts = _parts(list(paths), options)
        except StorageError as error:
            if error.cause == NO_DRIVER:
                raise UsageError(str(error), error.hint) from error
            raise
        self._own = OwnColumns()
        self.has_prompts = any(part.has_prompts for part in self._parts)
        # Lines that may still come cannot be checked before the first one is scored.
        self._is_stream = any(isinstance(part, Stdin) for part in self._parts)

    def items(self) -> Iterator[Item]:
        """Yield the items in order; with a shard, only its items, which may be none.

        Raises UsageError for a duplicate id, which with standard input is a `problem` of the later
        item, and if the paths have no item at all.
        """
        is_empty, found = True, chain.from_iterable(self._parts)
        with closing(SeenIds()) as seen:
            for item in NumberedIds(seen).items(found) if self._is_stream else unique(seen, found):
                is_empty = False
                # Before the shard filter, so that all shards of a source have the same columns.
                extra = self._own.see(item.extra)
                if self._options.shard is None or in_shard(item.id, *self._options.shard):
                    yield item if extra is item.extra else replace(item, extra=extra)
        if is_empty and not self._options.watched:
            raise self._nothing()

    def item_columns(self) -> Iterator[ItemColumns]:
        """Yield the same items, and raise the same errors, as columns of many items at a time."""
        if self._options.shard is not None:
            yield from map(columns_of, blocks(self.items()))
            return
        is_empty = True
        with closing(SeenIds()) as seen:
            numbered = NumberedIds(seen) if self._is_stream else None
            for found in chain.from_iterable(map(_columns, self._parts)):
                is_empty = False
                if numbered is not None:
                    found = numbered.columns(found)
                else:
                    check_unique(seen, found.ids)
                extras = found.extras
                if isinstance(extras, Mapping):
                    extras = self._own.see_columns(extras)
                else:
                    extras = list(map(self._own.see, extras))
                yield replace(found, extras=extras)
        if is_empty and not self._options.watched:
            raise self._nothing()

    def would_wait(self, seconds: float) -> bool:
        """Return whether the next item, of standard input, does not arrive within `seconds`."""
        return any(p.would_wait(seconds) for p in self._parts if isinstance(p, Stdin))

    def facts(self) -> Mapping[str, Any]:
        """Return facts of the items yielded so far: skipped files, own columns, containers."""
        manifests = [part for part in self._parts if isinstance(part, Manifest)]
        tars = [part for part in self._parts if isinstance(part, Tar)]
        return {
            "skipped": self.skipped,
            "passed_over": self.passed_over.record(),
            "own_columns": self._own.kinds(),
            "has_prompts": self.has_prompts,
            "containers": [name for p in self._parts if (name := _container(p))],
            "dropped": list(dict.fromkeys(n for p in manifests for n in p.dropped)),
            "left_out": list(dict.fromkeys(n for p in tars for n in p.left_out)),
        }

    @property
    def skipped(self) -> int:
        """Number of unsupported files that were skipped."""
        return self.passed_over.count

    @property
    def passed_over(self) -> PassedOver:
        """The files and folders that were passed over so far."""
        found = PassedOver()
        for part in self._parts:
            found.merge(part.passed_over)
        return found

    def check_prompts(self, prompt: str | None, prompt_from: PromptFrom | None) -> None:
        """Raise UsageError if neither an option nor the source gives prompts."""
        if prompt is not None or prompt_from is not None or self.has_prompts:
            return
        tables = [part for part in self._parts if isinstance(part, Manifest | Stdin)]
        found = next((table for table in tables if table.names), None)
        raise no_prompt(found.place, found.names) if found else no_prompt()

    def _nothing(self) -> UsageError:
        files = [part for part in self._parts if isinstance(part, Files | RemoteFiles)]
        return files[0].nothing() if files else UsageError("there is nothing to score")


def _columns(part: Part) -> Iterator[ItemColumns]:
    if isinstance(part, Manifest):
        return part.item_columns()
    return map(columns_of, blocks(part))


def _container(part: Part) -> str | None:
    """Return the path or URL of a part's file with media inside; None for a URL with secrets.

    A manifest of paths is no container: once its rows are listed, it is not read again.
    """
    file = part.container
    if file is None or (isinstance(part, Manifest) and not part.holds_bytes):
        return None
    return str(file) if str(file) == address(file) else None


def _parts(paths: list[str], options: SourceOptions) -> list[Part]:
    """Return a part for each manifest, tar and stdin, and for the files of each host and disk."""
    if options.watched:
        return [Files([Path(path) for path in paths], options.sidecars)]
    skipped = Skipped()
    is_only = len(paths) == 1
    places = [place for path in paths for place in places_of(path, skipped, is_only)]
    files = [place.path for place in places if place.kind == "tar"]
    named = list(zip(files, relative_names(files), strict=True))
    tars = iter(at_once(lambda pair: Tar(*pair, options.columns, RESERVED), named))
    manifests = iter(open_tables([place for place in places if place.kind == "manifest"]))
    folders = _folders([place for place in places if place.kind == "manifest"])
    columns = (options.columns, options.root, options.allow_remote, RESERVED)
    parts: list[Part] = []
    for place in places:
        if place.kind == "stdin":
            parts.append(Stdin(sys.stdin.buffer, options.null, *columns))
        elif place.kind == "manifest":
            parts.append(Manifest(next(manifests), *columns, folders[place]))
        elif place.kind == "tar":
            parts.append(next(tars))
    parts += _files([place for place in places if place.kind == "files"], options.sidecars)
    _tell_apart([part for part in parts if isinstance(part, Manifest)])
    return [*parts, skipped]


def _files(places: Sequence[Place], sidecars: bool) -> list[Part]:
    """Return a part for the files and folders of each bucket or host, and one for local paths."""
    remote: dict[str, list[UrlPath | UrlTree]] = {}
    local = []
    for place in places:
        if isinstance(place.path, Path):
            local.append(place.path)
        else:
            found = place.tree if isinstance(place.tree, UrlTree) else place.path
            remote.setdefault(place.path.origin, []).append(found)
    parts: list[Part] = [RemoteFiles(found, sidecars) for found in remote.values()]
    return [*parts, Files(local, sidecars)] if local else parts


def _folders(manifests: Sequence[Place]) -> dict[Place, str]:
    """Return the folder that ids of relative paths begin with, for each manifest.

    A manifest that was given by its own path needs none, unless another has the same name.
    """
    names = {posixpath.normpath(posixpath.join(p.folder, p.path.name)) for p in manifests}
    if len(names) == len(manifests):
        return {place: place.folder for place in manifests}
    below = [posixpath.dirname(name) for name in relative_names([p.path for p in manifests])]
    return dict(zip(manifests, below, strict=True))


def _tell_apart(manifests: Sequence[Manifest]) -> None:
    """Give distinct ids to media inside the manifests: by row where paths are not distinct."""
    holding = [manifest for manifest in manifests if manifest.holds_bytes]
    if len({manifest.name for manifest in holding}) < len(holding):
        for manifest, name in zip(
            holding, relative_names([m.container for m in holding]), strict=True
        ):
            manifest.name = name
    # Backwards too, which finds the first manifest of a path that a later one has.
    for ordered in (holding, holding[::-1]):
        with closing(SeenIds()) as seen:
            for manifest in ordered:
                for path in manifest.paths_inside():
                    if not seen.add(printable(path)):
                        manifest.repeats_paths = True
        if not any(manifest.repeats_paths for manifest in holding):
            return
