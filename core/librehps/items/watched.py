"""The folders that a run watches, and their items whose files are whole."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from librehps.errors import StorageError, UsageError
from librehps.items.changes import PROMPT_SUFFIXES, identities
from librehps.items.item_columns import FIELDS, ItemColumns
from librehps.items.settling import Settling
from librehps.items.source import Source
from librehps.media.media import kind_by_name
from librehps.paths import glob_start
from librehps.storage.url_path import as_path

MEDIA = FIELDS.index("media")
HINT = "Watch a folder of images and videos; for other sources repeat the command with --update."


class FolderGoneError(StorageError):
    """A watched folder that was removed while its files were listed."""


def watched_folders(paths: Sequence[str]) -> list[str]:
    """Return the absolute folders of paths and glob patterns; raises UsageError for other paths."""
    if not paths:
        raise UsageError("no folder to watch was given", HINT)
    found = []
    for text in paths:
        path = as_path(text)
        if text == "-":
            raise UsageError("standard input cannot be watched: expected a folder", HINT)
        if not isinstance(path, Path):
            raise UsageError(f"{path} cannot be watched: expected a local folder, got a URL", HINT)
        start = glob_start(path)
        if not os.path.lexists(start):
            raise UsageError(
                f"no such file or folder: {start}",
                hint=f"Create the folder first: mkdir -p {start}",
            )
        if not start.is_dir():
            raise UsageError(f"{path} cannot be watched: expected a folder, got a file", HINT)
        found.append(str(Path.cwd() / start))
    return found


@dataclass
class WholeFiles:
    """The items of a source whose files, and those of their prompts, are whole.

    Raises FolderGoneError where a folder of `roots` was removed meanwhile, so that its items do
    not seem to be deleted one by one.
    """

    source: Source
    settling: Settling
    roots: Sequence[str]

    @property
    def has_prompts(self) -> bool:
        """True if items may have a prompt."""
        return self.source.has_prompts

    def item_columns(self) -> Iterator[ItemColumns]:
        """Yield the items in the order of the source, many at a time."""
        before = identities(self.roots)
        start = os.path.join(Path.cwd(), "")  # noqa: PTH118
        for items in self.source.item_columns():
            paths = map(str, items.fields[MEDIA])
            places = (p if os.path.isabs(p) else start + p for p in paths)  # noqa: PTH117
            yield items.only(list(map(self._is_whole, places)))
        if before is None or identities(self.roots) != before:
            raise FolderGoneError(f"{', '.join(self.roots)}: a watched folder was removed")

    def _is_whole(self, path: str) -> bool:
        stem = path[: path.rindex(".")]
        waits = any(self.settling.waits(stem + suffix) for suffix in PROMPT_SUFFIXES)
        return self.settling.is_whole(path) and not waits

    def facts(self) -> Mapping[str, Any]:
        """Return facts of the items yielded so far."""
        return self.source.facts()


def lacks_prompt(path: str) -> bool:
    """Return whether a media file has no prompt file next to it."""
    if not kind_by_name(os.path.basename(path)):  # noqa: PTH119
        return False
    stem = path[: path.rindex(".")]
    return not any(os.path.exists(stem + suffix) for suffix in PROMPT_SUFFIXES)  # noqa: PTH110
