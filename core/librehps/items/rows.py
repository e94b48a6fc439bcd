"""Manifest columns, and the item of each manifest row."""

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

# Default column names, used if no flag names the column; the first that exists is taken.
MEDIA_NAMES = ("media", "image", "video", "path", "file", "file_name", "image_path", "video_path")
PROMPT_NAMES = ("prompt", "caption", "text")
ID_NAMES, GROUP_NAMES = ("id",), ("group",)
DEFAULT_NAMES = {"media": MEDIA_NAMES, "prompt": PROMPT_NAMES, "id": ID_NAMES, "group": GROUP_NAMES}


@dataclass(frozen=True)
class ColumnOptions:
    """Column names that the user gave, and new names for other columns (old -> new)."""

    media: str | None = None
    prompt: str | None = None
    id: str | None = None
    group: str | None = None
    rename: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Columns:
    """The roles of a manifest's columns.

    `own` maps the user's other columns to their output names. `dropped` columns are not copied to
    the output: the used ones, and results of an earlier run.
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
        """Names in the file of all columns that an item is made from."""
        named = (self.media, self.prompt, self.id, self.group, *self.own)
        return [name for name in named if name is not None]


def find_columns(
    names: Iterable[str],
    options: ColumnOptions,
    place: str,
    reserved: frozenset[str],
    is_open: bool = False,
) -> Columns:
    """Return the columns of a manifest; raises UsageError for a missing or reserved column.

    `is_open`: later rows may have other columns, so a column that a flag names may come later. A
    score table can be a manifest: its media, prompts, ids and groups are read, its scores dropped.
    """
    names = list(names)
    asked = {what: getattr(options, what) for what in DEFAULT_NAMES}
    seen = [*names, *filter(None, asked.values())] if is_open else names
    taken = {what: _find(seen, what, asked[what], place) for what in DEFAULT_NAMES}
    media = taken.pop("media")
    if media is None:
        raise UsageError(
            f"{place}: no media column; columns: {', '.join(names) or 'none'}",
            hint="Name the column: --media-column NAME",
        )
    dropped = {media, *filter(None, taken.values())}
    if {"settings", "status", "overall_mu"} <= set(names):
        dropped |= reserved
    own = {name: options.rename.get(name, name) for name in names if name not in dropped}
    for name, new in own.items():
        _check_free(name, new, reserved, place)
    if len(set(own.values())) < len(own):
        raise UsageError(f"{place}: --rename gives two columns the same name")
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
            f"{place}: column {new!r} conflicts with an output column",
            hint=f"Rename it: --rename {name}=my_{name}",
        )


def _find(names: list[str], what: str, asked: str | None, place: str) -> str | None:
    if asked is not None and asked not in names:
        raise UsageError(
            f"{place}: no column {asked!r} (--{what}-column); columns: {', '.join(names)}"
        )
    return asked or next((name for name in DEFAULT_NAMES[what] if name in names), None)


@dataclass(frozen=True)
class RowReader:
    """Makes items from rows; relative paths are relative to `root`, a folder or a URL."""

    columns: Columns
    root: str
    allow_remote: bool

    def item(self, row: Mapping[str, Any], place: str, cell: ParquetCell | None = None) -> Item:
        """Return the item of a row; an invalid row gives an item with a `problem`.

        `cell` refers to media bytes inside the row, None if the row has a path.
        """
        columns = self.columns
        extra = {new: row.get(old) for old, new in columns.own.items()}
        # JSON rows may have fields that the first row lacks; these follow the known columns.
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
            problem = PromptError(f"{place}: expected text as prompt, got {type(prompt).__name__}")
            prompt = None
        media: Any = cell
        if cell is None:
            value = row.get(columns.media)
            media = self._media(value) if isinstance(value, str) and value else Path(place)
            if isinstance(media, Remote) and not self.allow_remote:
                problem = MediaError(f"{media}: remote media in a manifest need --allow-remote")
            elif media == Path(place):
                problem = MediaError(f"{place}: column {columns.media!r} has no media path")
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
