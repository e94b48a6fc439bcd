"""Stamps of media: which local files have not changed since their content was hashed.

`.OUT.stamps` keeps the hash of each media file that an update has read, or that it cannot be
scored, with a key of its path, size, times and inode. The stamps are disposable: without them all
media are read once more.
"""

import hashlib
import logging
import os
import stat
import time
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from itertools import compress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from librehps.errors import (
    AspectRatioError,
    BrokenMediaError,
    DecompressionBombError,
    EmptyFileError,
    NoVideoStreamError,
    UnsupportedMediaError,
)
from librehps.files import write_whole
from librehps.key_index import KeyIndex
from librehps.media.archived import ParquetCell, TarMember
from librehps.runs.journal import Journal
from librehps.runs.known_rows import KEY, NO_KEY
from librehps.types import Item, Kind

log = logging.getLogger("librehps")

# A file that changed less than this before its stamp was taken may change again without another
# stamp: clocks of file systems tick, of FAT every 2 seconds.
FRESH_NS = 2_000_000_000
MARK = b"librehps.stamps 2\n"
CHECK_BYTES = 16
KINDS: tuple[Kind, Kind, None] = ("image", "video", None)
# Errors that a file causes by its content, so that they last until the file changes. All others,
# as of the network, of the device or of a time limit, may not come again.
LASTING = pa.array(
    kind.__name__
    for kind in (
        EmptyFileError,
        UnsupportedMediaError,
        BrokenMediaError,
        DecompressionBombError,
        AspectRatioError,
        NoVideoStreamError,
    )
)
# Texts of such errors where the cause may be this machine instead.
PASSING = (
    "does not fit in memory|Cannot allocate memory|Input/output error|Too many open files"
    "|Permission denied|Stale file handle"
)
# Packages that read media: another version may read a file that this one cannot.
READERS = ("pillow", "av", "decord", "pi_heif", "pylibjxl")
# Key of the file's stamp, hash of its content (of READERS, if it cannot be scored), and the kind as
# which it is scored.
ENTRY = np.dtype([("key", KEY), ("sha256", "V32"), ("kind", "u1")])
OF_ERROR = ("status", "error_type", "error")
# The key of a file of which nothing can be told.
NOTHING = NO_KEY.tobytes()


class Content(NamedTuple):
    """The content of media: the hash of their bytes, and the kind as which they are scored.

    The kind is None for media that cannot be scored: the row of the output says why.
    """

    sha256: str
    kind: Kind | None


class MediaStamps:
    """The stamps in a file, for media scored under one digest of settings; empty if damaged.

    Nothing is believed of a file whose path, size, time of change or inode differ.
    """

    def __init__(self, path: Path, settings_digest: str) -> None:
        self.path, self._head = path, MARK + settings_digest.encode() + b"\n"
        self._entries = self._read()
        self._index = KeyIndex()
        self._index.add(self._entries["key"].tolist(), np.arange(len(self._entries)))

    def find(self, keys: Sequence[bytes]) -> list[Content | None]:
        """Return the content of the media with each key of `stamp_keys`, None if not known."""
        if not len(self._entries):
            return [None] * len(keys)
        numbers = self._index.find(keys)
        entries = self._entries[np.maximum(numbers, 0)]
        found = zip(numbers >= 0, entries["sha256"].tolist(), entries["kind"].tolist(), strict=True)
        readers = bytes.fromhex(_readers())
        return [
            Content(sha256.hex(), KINDS[kind])
            if has and (KINDS[kind] is not None or sha256 == readers)
            else None
            for has, sha256, kind in found
        ]

    def update(self, keys: Any, is_kept: Any, journal: Journal) -> None:
        """Write the stamps of all items of a journal with scores or LASTING errors.

        `keys` are the stamp keys of all items from before they were read; files that have changed
        since are left out. Files with `is_kept` have not been read. A failure is a warning.
        """
        found = [np.empty(0, ENTRY)]
        for indices, table in journal.rows.there(("kind", "sha256", *OF_ERROR)):
            start, end = int(indices[0]), int(indices[-1]) + 1
            items = compress(journal.listing.range(start, end), journal.rows.has_row(start, end))
            found.append(_entries(table, keys[indices], is_kept[indices], items))
        self._write(np.concatenate(found))

    def _write(self, entries: Any) -> None:
        data = entries.tobytes()
        check = hashlib.blake2b(self._head + data, digest_size=CHECK_BYTES).digest()
        try:
            write_whole(self.path, self._head + check + data)
        except OSError as error:
            log.warning("%s cannot be written: %s; all media are read again", self.path, error)

    def _read(self) -> Any:
        nothing = np.empty(0, ENTRY)
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return nothing
        except OSError as error:
            log.warning("%s cannot be read: %s; all media are read again", self.path, error)
            return nothing
        is_ours = data.startswith(self._head)
        if data.startswith(MARK) and not is_ours:
            # Scored with other settings, under which files may be of another kind.
            return nothing
        start = len(self._head) + CHECK_BYTES
        body = memoryview(data)[start:]
        check = hashlib.blake2b(self._head + body, digest_size=CHECK_BYTES).digest()
        is_whole = data[len(self._head) : start] == check and not len(body) % ENTRY.itemsize
        if not (is_ours and is_whole):
            log.warning("%s is damaged; all media are read again", self.path)
            return nothing
        return np.frombuffer(body, ENTRY)


def _entries(table: Any, keys: Any, is_kept: Any, items: Iterator[Item]) -> Any:
    """Return an entry for each row whose file has the same stamp as before it was read."""
    scored = pc.and_(pc.equal(table["status"], "ok"), table["sha256"].is_valid())
    has = pc.or_(scored, is_lasting(table)).to_numpy() & (keys != NO_KEY)
    is_read = has & ~is_kept
    if is_read.any():
        now = stamp_keys([item for item, new in zip(items, is_read, strict=True) if new])
        has[is_read] = np.frombuffer(b"".join(now), KEY) == keys[is_read]
    rows = table.filter(pa.array(has))
    entries = np.empty(len(rows), ENTRY)
    entries["key"] = keys[has]
    hashes = pc.fill_null(rows["sha256"], _readers()).to_pylist()
    entries["sha256"] = np.frombuffer(b"".join(map(bytes.fromhex, hashes)), "V32")
    kinds = pc.if_else(pc.equal(rows["status"], "ok"), rows["kind"], None)
    entries["kind"] = [KINDS.index(kind) for kind in kinds.to_pylist()]
    return entries


def is_lasting(table: Any) -> Any:
    """Return for each row, which has the columns OF_ERROR, if its error lasts."""
    is_error = pc.and_(pc.equal(table["status"], "error"), pc.is_in(table["error_type"], LASTING))
    may_pass = pc.fill_null(pc.match_substring_regex(table["error"], PASSING), False)
    return pc.and_(is_error, pc.invert(may_pass))


@cache
def _readers() -> str:
    """Return a hash of the versions of the packages that read media."""
    return hashlib.sha256(repr([*map(_version, READERS)]).encode()).hexdigest()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def stamps_file(output: Path) -> Path:
    """Return the file with the stamps of an output's media; readers of folders ignore it."""
    return output.with_name(f".{output.name}.stamps")


def stamp_keys(items: Sequence[Item]) -> list[bytes]:
    """Return a key of each item's local file as it is now, zeros where nothing can be told.

    Equal keys mean equal content: a file that has just changed has no key.
    """
    here, now = os.getcwd() + os.sep, time.time_ns()  # noqa: PTH109 - joined as text

    @cache
    def container(place: str) -> str | None:
        return _stamp(place, now)

    return [_key(item, here, now, container) for item in items]


def _key(item: Item, here: str, now: int, container: Any) -> bytes:
    media, inside = item.media, ""
    if isinstance(media, TarMember):
        path, inside = media.tar, f"{media.offset} {media.size} {media.member}"
        stamp = container(path)
    elif isinstance(media, ParquetCell) and not (media.root and media.path):
        path, inside = media.file, f"{media.column}\0{media.row} {media.entry}"
        stamp = container(path)
    elif isinstance(media, str):
        path, stamp = media, _stamp(media, now)
    else:
        # At a URL, or of a cell whose bytes may be in another file.
        return NOTHING
    if stamp is None:
        return NOTHING
    place = path if os.path.isabs(path) else here + path  # noqa: PTH117 - of each row
    text = f"{place}\0{stamp}\0{inside}\0{item.kind}"
    return hashlib.blake2b(text.encode(errors="surrogateescape"), digest_size=16).digest()


def _stamp(path: str, now: int) -> str | None:
    """Return size, times and inode of a file; None for a fresh or missing one, and for a device."""
    try:
        found = os.stat(path)  # noqa: PTH116 - of each row
    except (OSError, ValueError):
        # The decoder reports the error, or reads a URL.
        return None
    changed = max(found.st_mtime_ns, found.st_ctime_ns)
    if changed > now - FRESH_NS or not stat.S_ISREG(found.st_mode):
        return None
    return f"{found.st_size} {found.st_mtime_ns} {found.st_ctime_ns} {found.st_ino}"
