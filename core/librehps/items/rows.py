"""A row of a manifest becomes an item."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from librehps.errors import MediaError, PromptError, UsageError
from librehps.files import printable
from librehps.media.archived import ParquetCell, Remote, is_remote
from librehps.media.media import kind_by_name
from librehps.types import Item, Stored

# Names that a column is looked for by, where no flag gives one; the first that is there is taken.
MEDIA_NAMES = ("media", "image", "video", "path", "file", "file_name", "image_path", "video_path")
PROMPT_NAMES = ("prompt", "caption", "text")
ID_NAMES, GROUP_NAMES = ("id",), ("group",)
FLAGS = {"media": MEDIA_NAMES, "prompt": PROMPT_NAMES, "id": ID_NAMES, "group": GROUP_NAMES}


@dataclass(frozen=True)
class ColumnOptions:
    """Names of columns where the user gave them, and new names for others (old -> new)."""

    media: str | None = None
    prompt: str | None = None
    id: str | None = None
    group: str | None = None
    rename: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Columns:
    """Which column is what; `own` maps the user's other columns to their names in the output.

    `dropped` are those that a row's extra must not have: used ones, and results of ours.
    """

    media: str
    prompt: str | None
    id: str | None
    group: str | None
    own: Mapping[str, str]
    dropped: frozenset[str]
    reserved: frozenset[str]
    rename: Mapping[str, str]

    @property
    def used(self) -> list[str]:
        """Every column that an item is made from, by its name in the file."""
        named = (self.media, self.prompt, self.id, self.group, *self.own)
        return [name for name in named if name is not None]


def find_columns(
    names: Iterable[str],
    options: ColumnOptions,
    place: str,
    reserved: frozenset[str],
    is_open: bool = False,
) -> Columns:
    """The columns of a manifest; raises UsageError for one that is missing or reserved.

    `is_open`: later rows may have others, so that what a flag names need not be there yet.

    A file of scores gives its media, prompts, ids and groups; its own results are left out.
    """
    names = list(names)
    asked = {what: getattr(options, what) for what in FLAGS}
    seen = [*names, *filter(None, asked.values())] if is_open else names
    taken = {what: _find(seen, what, asked[what], place) for what in FLAGS}
    media = taken.pop("media")
    if media is None:
        raise UsageError(
            f"{place} has no column of media: it has {', '.join(names) or 'none'}",
            hint="Name it with --media-column.",
        )
    dropped = {media, *filter(None, taken.values())}
    if {"settings", "status", "overall_mu"} <= set(names):
        dropped |= reserved
    own = {name: options.rename.get(name, name) for name in names if name not in dropped}
    for name, new in own.items():
        _check_free(name, new, reserved, place)
    if len(set(own.values())) < len(own):
        raise UsageError(f"{place}: --rename gives two columns one name")
    return Columns(
        media,
        **taken,
        own=own,
        dropped=frozenset(dropped),
        reserved=reserved,
        rename=options.rename,
    )


def _check_free(name: str, new: str, reserved: frozenset[str], place: str) -> None:
    if new in reserved:
        raise UsageError(
            f"{place}: the column {name!r} has the name of one of the output",
            hint=f"Give it another name: --rename {name}=my_{name}",
        )


def _find(names: list[str], what: str, asked: str | None, place: str) -> str | None:
    if asked is not None and asked not in names:
        raise UsageError(
            f"{place} has no column {asked!r} (--{what}-column): it has {', '.join(names)}"
        )
    return asked or next((name for name in FLAGS[what] if name in names), None)


@dataclass(frozen=True)
class RowReader:
    """Rows as items; relative paths begin at `root`, a folder or a URL."""

    columns: Columns
    root: str
    allow_remote: bool

    def item(self, row: Mapping[str, Any], place: str, cell: ParquetCell | None = None) -> Item:
        """The item of a row; what is wrong with it is the item's problem.

        `cell` is the media where it lies in the row itself.
        """
        columns = self.columns
        extra = {new: row.get(old) for old, new in columns.own.items()}
        # Rows of JSON may have fields that the first one had not; their order is the columns'.
        for name in row:
            if name in columns.own or name in columns.dropped:
                continue
            new = columns.rename.get(name, name)
            _check_free(name, new, columns.reserved, place)
            extra[new] = row[name]
        prompt = row.get(columns.prompt) if columns.prompt else None
        identity = _text(row.get(columns.id)) if columns.id else None
        group = _text(row.get(columns.group)) if columns.group else None
        problem: MediaError | PromptError | None = None
        if prompt is not None and not isinstance(prompt, str):
            problem = PromptError(f"{place}: the prompt is of type {type(prompt).__name__}")
            prompt = None
        media: Any = cell
        if cell is None:
            value = row.get(columns.media)
            media = self._media(value) if isinstance(value, str) and value else Path(place)
            if isinstance(media, Remote) and not self.allow_remote:
                problem = MediaError(f"{media}: remote media of a manifest need --allow-remote")
            elif media == Path(place):
                problem = MediaError(f"{place} names no media in {columns.media!r}")
        name = media.name if isinstance(media, Stored) else str(media)
        return Item(
            identity or self._identity(media),
            media,
            prompt,
            kind_by_name(name),
            group,
            extra,
            problem,
        )

    def _media(self, value: str) -> Path | Remote:
        if is_remote(value):
            return Remote(value)
        if is_remote(self.root):
            return Remote(f"{self.root.rstrip('/')}/{value}")
        return Path(self.root, value)

    def _identity(self, media: Any) -> str:
        if isinstance(media, ParquetCell):
            return media.path or f"{Path(media.file).name}/{media.row}"
        if isinstance(media, Remote):
            return media.url
        place = os.path.normpath(media)
        root = os.path.normpath(self.root)
        below = root == "." or place.startswith(root.rstrip(os.sep) + os.sep)
        relative = os.path.relpath(place, root) if below else place
        return printable(relative.replace(os.sep, "/"))


def _text(value: Any) -> str | None:
    return None if value is None else printable(str(value))
