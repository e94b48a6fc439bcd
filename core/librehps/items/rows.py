"""Manifest columns, and the item of each manifest row."""

import os
import posixpath
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from librehps.errors import (
    InvalidItemError,
    ItemError,
    MediaError,
    MediaNotFoundError,
    PromptError,
    UsageError,
)
from librehps.files import printable
from librehps.items.column_names import (
    DEFAULT_NAMES,
    check_renamed,
    find_column,
    later_name,
    media_hint,
    shown_names,
)
from librehps.items.item_columns import ItemColumns
from librehps.media.archived import Remote
from librehps.media.lazy import Lazy
from librehps.media.media import kind_by_name
from librehps.media.named import column_entry, media_value
from librehps.paths import (
    are_simple,
    foreign_path,
    is_simple,
    local_name,
    local_path,
    path_id,
    start_below,
)
from librehps.rowfiles.base import RowBlock
from librehps.scores.columns import check_free
from librehps.storage.places import is_remote, shown
from librehps.storage.url_path import AnyPath, UrlPath
from librehps.types import Item, Kind, Stored


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

    `entry` is the index into the lists of the media column, None for a column of single values.
    `own` maps the user's other columns to their output names. `dropped` columns are not copied to
    the output: the used ones, and results of an earlier run. `has_prompts`: the first row or a flag
    names the column of prompts, so it is not one that only later rows may have.
    """

    media: str
    prompt: str | None
    id: str | None
    group: str | None
    own: Mapping[str, str]
    dropped: frozenset[str]
    reserved: frozenset[str]
    rename: Mapping[str, str]
    entry: int | None = None
    has_prompts: bool = False

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
    binary: Sequence[str] = (),
) -> Columns:
    """Return the columns of a manifest; raises UsageError for a missing or reserved column.

    `binary` columns are media or nothing. `is_open`: later rows may have other columns, so a
    column that a flag names may come later, as may prompts, ids and groups. A score table can be a
    manifest: its media, prompts, ids and groups are read, its scores dropped.
    """
    names = list(names)
    media_name, entry = column_entry(options.media, names)
    asked = {what: getattr(options, what) for what in DEFAULT_NAMES} | {"media": media_name}
    seen = [*names, *filter(None, asked.values())] if is_open else [*names]
    found = {"media": [*seen, *binary]}
    taken = {what: find_column(found.get(what, seen), what, asked[what], place)
             for what in DEFAULT_NAMES}  # fmt: skip
    media = taken.pop("media")
    if media is None:
        holding = f"; columns with bytes: {', '.join(binary)}" if binary else ""
        raise UsageError(
            f"{place}: no media column; columns: {shown_names(names) or 'none'}{holding}",
            hint=media_hint(names, binary),
        )
    has_prompts = taken["prompt"] is not None
    if is_open:
        taken = {what: name or later_name(what, options.rename) for what, name in taken.items()}
    dropped = {media, *filter(None, taken.values())}
    if {"settings", "status", "overall_mu"} <= set(names):
        dropped |= reserved
    own = {name: options.rename.get(name, name) for name in names if name not in dropped}
    check_free(own, reserved, f"{place}: ")
    check_renamed(own.values(), place)
    return Columns(
        media,
        **taken,
        own=own,
        dropped=frozenset(dropped),
        reserved=reserved,
        rename=options.rename,
        entry=entry,
        has_prompts=has_prompts,
    )


# The media of a row, the id that follows from it, and why it cannot be read, if known.
Found = tuple[Any, str, MediaError | None]


@dataclass(frozen=True)
class RowReader:
    """Makes items from rows; relative paths are relative to `root`, a folder or a URL.

    `prefix` begins the ids of relative paths, for a manifest in a folder that was searched;
    `row_prefix` those of rows without a path. `homes` are the hosts and buckets that the user
    named: media elsewhere need `allow_remote`. `is_stream`: a row with a reserved column is an item
    with a problem, not an error.
    """

    columns: Columns
    root: str
    allow_remote: bool
    prefix: str = ""
    row_prefix: str = ""
    homes: frozenset[str] = frozenset()
    is_stream: bool = False

    def item(self, row: Mapping[str, Any], place: str, cell: Found | None = None) -> Item:
        """Return the item of a row; an invalid row gives an item with a `problem`.

        `cell` refers to media bytes inside the row, None if the row has a path.
        """
        columns = self.columns
        if self._padded:
            row = self._trimmed(row)
        get = row.get
        identity = _text(get(columns.id)) if columns.id else None
        problem: ItemError | None
        media, name, problem = cell or self._find(row, place)
        prompt = get(columns.prompt) if columns.prompt else None
        wrong = invalid_prompt(prompt)
        try:
            extra = self._extra(row, place)
        except UsageError as error:
            if not self.is_stream:
                raise
            extra, problem = {}, InvalidItemError(f"{error} ({error.hint})")
        return Item(
            identity or name,
            media,
            None if wrong else prompt,
            kind_by_name(media if isinstance(media, str) else _name_of(media)),
            _text(get(columns.group)) if columns.group else None,
            extra,
            PromptError(f"{place}: {wrong}") if wrong and problem is None else problem,
        )

    def plain_columns(self, rows: RowBlock) -> ItemColumns | None:
        """Return the items of rows with simple paths and valid prompts; None for other rows."""
        columns, starts, nothing = self.columns, self._starts, [None] * len(rows)
        values = rows.column(columns.media)
        prompts = rows.column(columns.prompt) if columns.prompt else nothing
        if starts is None or not (are_simple(values) and _are_prompts(prompts)):
            return None
        if self._padded:
            return None
        if not rows.has_only(self._known):
            return None
        media = list(map(starts[0], values))
        ids = _texts(rows.column(columns.id)) if columns.id else nothing
        if not all(ids):
            names = _texts([starts[1] + value for value in values])
            ids = [given or name for given, name in zip(ids, names, strict=True)]
        groups = _texts(rows.column(columns.group)) if columns.group else nothing
        extras = {new: rows.column(old) for old, new in columns.own.items()}
        return ItemColumns((ids, media, prompts, _kinds(values, media), groups), extras, {})

    def _extra(self, row: Mapping[str, Any], place: str) -> dict[str, Any]:
        """Return the user's own columns.

        JSON rows may have fields that the first row lacks; these follow the known columns.
        """
        columns = self.columns
        extra = {new: row.get(old) for old, new in columns.own.items()}
        if not row.keys() <= self._known:
            names = sorted(row.keys() - self._known, key=list(row).index)
            later = {name: columns.rename.get(name, name) for name in names}
            check_free(later, columns.reserved, f"{place}: {self._why_taken(later.values())}")
            check_renamed((*extra, *later.values()), place)
            extra |= {new: row[name] for name, new in later.items()}
        return extra

    def _why_taken(self, names: Iterable[str]) -> str:
        """Return why a name that later rows have is not read: its values come from another one."""
        what = next((what for what in DEFAULT_NAMES if what in names), None)
        read = what and getattr(self.columns, what)
        return f"the {what} is read from column {read!r}, so " if read else ""

    def _find(self, row: Mapping[str, Any], place: str) -> Found:
        value = row.get(self.columns.media)
        starts = self._starts
        if starts is not None and type(value) is str and is_simple(value):
            name = starts[1] + value
            return starts[0](value), name if value.isascii() else printable(name), None
        value = media_value(value, self.columns.entry)
        if not isinstance(value, str) or not value:
            missing = MediaError(f"{place}: {self._why_missing(value)}")
            return Path(place), path_id(Path(place).name, self.row_prefix), missing
        if is_remote(value):
            return Remote(value), printable(shown(value)), self._why_refused(value)
        if is_remote(self.root):
            return self._below_url(value, place)
        reason = foreign_path(self.root, value)
        name = local_name(self.root, value)
        foreign = MediaNotFoundError(f"{place}: {reason}") if reason else None
        return local_path(self.root, value), path_id(name, self.prefix), foreign

    @Lazy
    def _padded(self) -> Sequence[str]:
        """The columns of paths or prompts whose names, and so their values, follow a blank."""
        names = filter(None, (self.columns.media, self.columns.prompt))
        return [name for name in names if name[:1].isspace()]

    def _trimmed(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        texts = {name: row.get(name) for name in self._padded}
        trimmed = {name: text.strip() for name, text in texts.items() if isinstance(text, str)}
        return {**row, **trimmed}

    @Lazy
    def _known(self) -> frozenset[str]:
        """The columns that need no further look in each row."""
        return self.columns.dropped | self.columns.own.keys()

    @Lazy
    def _starts(self) -> tuple[Callable[[str], Any], str] | None:
        """A function from a simple path to its media, and the start of its id; None if neither."""
        above = start_below(posixpath.normpath(self.prefix))
        if self.columns.entry is not None:
            return None
        if is_remote(self.root):
            url_of = UrlPath(self.root).url_of
            return lambda value: Remote(url_of(value)), above
        return None if os.name == "nt" else (start_below(str(Path(self.root))).__add__, above)

    def _below_url(self, value: str, place: str) -> Found:
        """Return the media at a path relative to `root`, which is a URL."""
        identity = path_id(value.replace("\\", "/"), self.prefix)
        found = UrlPath(self.root).below(value)
        if found is None:
            expected = "expected a path below its bucket or host, a URL, or --root FOLDER"
            return (
                Path(value),
                identity,
                MediaError(f"{place}: invalid path {value!r} ({expected})"),
            )
        return Remote(found.url), identity, None

    def _why_refused(self, url: str) -> MediaError | None:
        if self.allow_remote or UrlPath(url).origin in self.homes:
            return None
        return MediaError(f"{shown(url)}: remote media in a manifest need --allow-remote")

    def _why_missing(self, value: Any) -> str:
        name, entry = self.columns.media, self.columns.entry
        if isinstance(value, list):
            return f"column {name!r} has a list (expected one entry: --media-column '{name}[0]')"
        if entry is not None:
            return f"column {name!r} has no path at index {entry} (the first index is 0)"
        return f"column {name!r} has no media path"


def check_ranges(file: AnyPath, members: str) -> None:
    """Raise UsageError for an archive on a server from which its `members` cannot be read."""
    if isinstance(file, UrlPath) and not file.has_ranges:
        raise UsageError(
            f"{file}: {members} cannot be read, as the server only sends whole files",
            hint=f"Download it, then give the local file: curl -LO {shlex.quote(str(file))}",
        )


def invalid_prompt(prompt: Any) -> str | None:
    """Return why a value is no prompt; None for text, and for a row without a prompt."""
    if type(prompt) is str and "\0" not in prompt:
        return None
    if prompt is not None and not isinstance(prompt, str):
        return f"expected text as prompt, got {type(prompt).__name__}"
    # Text of another encoding, which a tokenizer would read without a word.
    return "zero bytes in the prompt (expected UTF-8 text)" if prompt and "\0" in prompt else None


def _name_of(media: Path | Stored) -> str:
    return media.name if isinstance(media, Stored) else str(media)


def _kinds(paths: Sequence[str], media: Sequence[Any]) -> Sequence[Kind | None]:
    """Return the kinds of media at simple paths, which a suffix tells."""
    names = paths if isinstance(media[0], str) else list(map(_name_of, media))
    at = names[0].rfind(".") - len(names[0])
    suffix = names[0][at:]
    if suffix[:1] == "." and {name[at:] for name in names} == {suffix}:
        return [kind_by_name(names[0])] * len(names)
    ends = [name[name.rfind(".") :] for name in names]
    kinds = {end: kind_by_name(f"x{end}") for end in set(ends)}
    return [kinds[end] for end in ends]


def _are_prompts(values: Sequence[Any]) -> bool:
    """Return whether no value is an invalid prompt."""
    kinds = set(map(type, values))
    return kinds <= {str, type(None)} and "\0" not in "".join(filter(None, values))


def _texts(values: Sequence[Any]) -> Sequence[str | None]:
    """Return values as valid text, except None."""
    if set(map(type, values)) == {str} and "".join(values).isascii():
        return values
    return list(map(_text, values))


def _text(value: Any) -> str | None:
    return None if value is None else printable(value)
