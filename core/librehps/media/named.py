"""Media by the texts in a score table: `a.png`, `x.tar::a.png`, `y.parquet::a.png`, a URL."""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from librehps.errors import LibreHPSError, MediaError, MediaNotFoundError
from librehps.files import printable
from librehps.media.archived import ParquetCell, Remote, TarMember, is_remote
from librehps.media.parquet_column import forget_columns
from librehps.media.tar_index import TarIndex
from librehps.rowfiles import RowFile, Schema
from librehps.storage.places import shown
from librehps.storage.url_path import address, as_path
from librehps.types import Stored

INSIDE = "::"
# Manifest columns of media if no flag names one; the first that exists is taken.
MEDIA_NAMES = ("media", "image", "video", "path", "file", "file_name", "image_path", "video_path")
# The same for prompts.
PROMPT_NAMES = ("prompt", "caption", "text")
# `images[1]` is the second entry of the lists in column `images`.
ENTRY = re.compile(r"(.+)\[(\d+)\]")
# The reason why media at URLs are not read without the user's permission.
NOT_ALLOWED = "media at URLs need --allow-remote"
# A member of a tar or a Parquet file at a URL.
REMOTE_MEMBER = re.compile(
    r"([^:]+://.*?\.(?:tar|parquet)(?:\?[^:]*)?)::((?:(?!://).)+)", re.DOTALL | re.IGNORECASE
)
PARQUET_SUFFIX = ".parquet"

# The media of a text, or the error that says why it cannot be read.
Found = Path | Stored | MediaError


@dataclass(frozen=True)
class CellOptions:
    """Options that a Parquet file was read with: its media column, and the folder of its paths."""

    column: str | None = None
    root: str | None = None


def media_named(texts: Iterable[str], cells: CellOptions | None = None) -> dict[str, Found]:
    """Return the media of each text; an existing file with `::` in its name is that file.

    Each tar and each Parquet file is searched once, and only the given names are kept. A name that
    several members have is an error, since its text does not say which of them was scored.
    """
    found: dict[str, Found] = {}
    inside: dict[str, dict[str, str]] = {}
    for text in texts:
        container, name = _parts(text)
        if not name:
            found[text] = Remote(text) if is_remote(text) else Path(text)
        elif container:
            inside.setdefault(container, {})[name] = text
        else:
            found[text] = MediaNotFoundError(f"{shown(text)} does not exist")
    for container, named in inside.items():
        members = _members(container, named, cells or CellOptions())
        missing = MediaNotFoundError
        found |= {text: members.get(name) or missing(f"{shown(text)} does not exist")
                  for name, text in named.items()}  # fmt: skip
    return found


def column_entry(asked: str | None, names: Sequence[str]) -> tuple[str | None, int | None]:
    """Return the column and the index of `images[1]`; without an index, the name and None."""
    found = None if asked is None or asked in names else ENTRY.fullmatch(asked)
    return (found[1], int(found[2])) if found else (asked, None)


def media_value(value: Any, entry: int | None) -> Any:
    """Return the media in a cell: an entry of a list, the path of a `{bytes, path}` struct."""
    if entry is not None:
        value = value[entry] if isinstance(value, list) and entry < len(value) else None
    return value.get("path") if isinstance(value, dict) else value


def _parts(text: str) -> tuple[str, str]:
    """Return (container, member); the member is empty for a file, the container if not found."""
    if INSIDE not in text or (not is_remote(text) and os.path.lexists(text)):
        return text, ""
    if is_remote(text):
        # A chain such as zip://a.png::s3://bucket/x.zip is one file.
        found = REMOTE_MEMBER.fullmatch(text)
        return (found[1], found[2]) if found else (text, "")
    at = text.find(INSIDE)
    while at >= 0:
        if Path(text[:at]).is_file():
            return text[:at], text[at + len(INSIDE) :]
        at = text.find(INSIDE, at + 1)
    return "", text


def _members(container: str, names: Mapping[str, str], cells: CellOptions) -> dict[str, Found]:
    try:
        if container.partition("?")[0].lower().endswith(PARQUET_SUFFIX):
            return _cells(container, names, cells)
        return _tar_members(container, names)
    except LibreHPSError as error:
        told = error if isinstance(error, MediaError) else MediaError(str(error))
        return dict.fromkeys(names, told)


def _tar_members(tar: str, names: Mapping[str, str]) -> dict[str, Found]:
    found: dict[str, Found] = {}
    index = TarIndex(as_path(tar))
    try:
        for member in index.members():
            name = printable(member.name)
            if name not in names:
                continue
            if name in found:
                found[name] = _several(names[name])
                continue
            try:
                target = index.target(member)
            except ValueError as reason:
                found[name] = MediaError(f"{tar}::{name} {reason}")
                continue
            problem = target.problem and MediaError(target.problem)
            found[name] = problem or TarMember(tar, member.name, target.offset, target.size)
        if index.damage:
            return {**dict.fromkeys(names, MediaError(index.damage)), **found}
        return found
    finally:
        index.close()


def _cells(file: str, names: Mapping[str, str], options: CellOptions) -> dict[str, Found]:
    """Return the cells of a Parquet file: `path`, `row/path` for repeated paths, or `row`."""
    place = as_path(file)
    forget_columns()
    rows = RowFile(place, MediaError)
    column, entry = _column(file, rows.schema(), options.column)
    # Absolute, since the column's reader is cached by the file's name.
    whole = place.absolute()
    root = options.root or address(whole.parent)
    found: dict[str, Found] = {}
    for number, (_, row) in enumerate(rows.rows([column])):
        path = media_value(row.get(column), entry)
        path = path if isinstance(path, str) else ""
        shown = printable(path)
        for name in (shown, f"{number}/{shown}") if path else (str(number),):
            if name in names:
                cell = ParquetCell(address(whole), column, number, path, entry, root, name != shown)
                found[name] = _several(names[name]) if name in found else cell
    return found


def _column(file: str, schema: Schema | None, asked: str | None) -> tuple[str, int | None]:
    """Return the column of media bytes and the index into its lists; raises MediaError."""
    names = [] if schema is None else schema.names
    binary = [] if schema is None else [name for name in names if name in schema.binary]
    name, entry = column_entry(asked, names)
    if name in binary:
        return str(name), entry
    known = next((name for name in MEDIA_NAMES if name in binary), None)
    if known is None and len(binary) != 1:
        columns = ", ".join(binary) or "none"
        raise MediaError(f"{file}: no media column (columns with bytes: {columns})")
    return known or binary[0], None


def _several(text: str) -> MediaError:
    return MediaError(f"{shown(text)} names several media, so the scored one is unknown")
