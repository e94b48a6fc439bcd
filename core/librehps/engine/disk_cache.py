"""The score cache on disk: scores of earlier runs by content, prompt and settings, in SQLite.

A damaged file, or one of another version, is never repaired: the next number is the new file, so
that no process gets the rollback journal of another file.
"""

import hashlib
import json
import logging
import os
import re
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

from librehps.key_index import KEY_BYTES
from librehps.models.base import RawScore
from librehps.types import Kind

log = logging.getLogger("librehps")

T = TypeVar("T")
VARIABLE = "LIBREHPS_CACHE"
NO_CACHE = "none"
MAX_BYTES = 2_000_000_000
BUSY_TIMEOUT_S = 10.0
DAY_S = 86_400
# Marks of the file: "hpsc" as a number, and the version of its layout.
MARKS = (0x68707363, 1)
CHECK_BYTES = 16
FILE = re.compile(r"scores-(\d+)\.sqlite")
# Files up to this size are checked for torn pages when they are opened, which takes milliseconds;
# in larger ones the checksums of the entries hold alone.
MAX_CHECKED_BYTES = 16_000_000
TABLES = (
    "CREATE TABLE scores (key BLOB PRIMARY KEY, used INTEGER, value BLOB) WITHOUT ROWID",
    "CREATE INDEX by_use ON scores (used)",
)
# Deletes a tenth of the entries: those that were used longest ago.
DELETE_OLDEST = (
    "DELETE FROM scores WHERE key IN (SELECT key FROM scores ORDER BY used LIMIT"
    " 1 + (SELECT count(*) FROM scores) / 10)"
)


class _DamagedError(Exception):
    """The file is not a cache of this version, or an entry does not match its checksum."""


@dataclass(frozen=True)
class CachedScore:
    """A score, and what its row needs in addition: size, frames, and remarks on the media.

    `phash` is the perceptual hash, None if it is not known.
    """

    raw: RawScore
    width: int
    height: int
    frames: tuple[int, ...] | None
    remarks: frozenset[str]
    phash: str | None = None


class ContentScores(Protocol):
    """Scores by content and prompt, which are asked before media are decoded; thread-safe."""

    def find(self, kind: Kind, sha256: str, prompt: str | None) -> CachedScore | None:
        """Return the score of this content under the prompt; None if it is not known."""

    def add(self, scores: Iterable[tuple[Kind, str, str | None, CachedScore]]) -> None:
        """Store scores as (kind, content hash, prompt, score)."""

    def close(self) -> None:
        """Free what the scores take; none is found from then on."""


class FirstKnown:
    """Scores of two places; `second` is asked what `first` does not know, and gets new scores."""

    def __init__(self, first: ContentScores, second: ContentScores | None) -> None:
        self._first, self._second = first, second

    def find(self, kind: Kind, sha256: str, prompt: str | None) -> CachedScore | None:
        """Return the score of this content under the prompt; None if neither place knows it."""
        found = self._first.find(kind, sha256, prompt)
        if found is not None or self._second is None:
            return found
        return self._second.find(kind, sha256, prompt)

    def add(self, scores: Iterable[tuple[Kind, str, str | None, CachedScore]]) -> None:
        """Store scores in the second place."""
        if self._second is not None:
            self._second.add(scores)

    def close(self) -> None:
        """Close the second place."""
        if self._second is not None:
            self._second.close()


class DiskCache:
    """Scores under one settings digest, in a folder that runs and processes share.

    Thread-safe. A cache that cannot be read or written is a warning, never an error. At most about
    `max_bytes` are used: the entries that were used longest ago are deleted first. Perceptual
    hashes, which only a cache with `hashes` looks for, have entries of their own, so that versions
    without them can read every score.
    """

    def __init__(
        self,
        folder: Path,
        settings_digest: str,
        max_bytes: int = MAX_BYTES,
        *,
        hashes: bool = False,
    ) -> None:
        self.folder, self._digest, self._max_bytes = folder, settings_digest, max_bytes
        self._hashes = hashes
        self._lock = threading.Lock()
        self._db: sqlite3.Connection | None = None
        self._file = folder
        self._is_off = False
        self._touched: set[bytes] = set()

    def find(self, kind: Kind, sha256: str, prompt: str | None) -> CachedScore | None:
        """Return the score of this content under the prompt; None if it is not cached."""
        key = self._key(kind, sha256, prompt)
        value = self._tried(lambda db: self._value(db, key, _from_value))
        if value is None or not self._hashes:
            return value
        key = self._hash_key(kind, sha256)
        return replace(value, phash=self._tried(lambda db: self._value(db, key, _json)))

    def add(self, scores: Iterable[tuple[Kind, str, str | None, CachedScore]]) -> None:
        """Store scores as (kind, content hash, prompt, score)."""
        today = _today()
        entries = []
        for kind, sha256, prompt, score in scores:
            key = self._key(kind, sha256, prompt)
            entries.append((key, today, _to_value(key, score)))
            if score.phash is not None:
                key = self._hash_key(kind, sha256)
                entries.append((key, today, _checked(key, score.phash)))
        if entries:
            self._tried(lambda db: self._write(db, entries))

    def close(self) -> None:
        """Write which entries were used, and close the file, which the next use opens again."""
        if self._touched:
            self._tried(lambda db: self._write(db, []))
        with self._lock:
            self._disconnect()

    def _key(self, kind: str, sha256: str, prompt: str | None) -> bytes:
        text = f"{self._digest}\0{kind}\0{sha256}\0{prompt or ''}"
        return hashlib.blake2b(text.encode(), digest_size=KEY_BYTES).digest()

    def _hash_key(self, kind: Kind, sha256: str) -> bytes:
        return self._key(f"phash {kind}", sha256, None)

    def _value(
        self, db: sqlite3.Connection, key: bytes, read: Callable[[bytes, bytes], T]
    ) -> T | None:
        row = db.execute("SELECT used, value FROM scores WHERE key = ?", (key,)).fetchone()
        if row is None:
            return None
        if row[0] != _today():
            self._touched.add(key)
        return read(key, row[1])

    def _write(self, db: sqlite3.Connection, entries: list[tuple[bytes, int, bytes]]) -> None:
        touched, self._touched = self._touched, set()
        with _transaction(db):
            day = _today()
            db.executemany("UPDATE scores SET used = ? WHERE key = ?", [(day, k) for k in touched])
            db.executemany("INSERT OR REPLACE INTO scores VALUES (?, ?, ?)", entries)
            while _used_bytes(db) > self._max_bytes:
                if not db.execute(DELETE_OLDEST).rowcount:
                    break

    def _tried(self, task: Callable[[sqlite3.Connection], T]) -> T | None:
        """Return the task's result; None, with a warning, if the cache cannot do the task."""
        with self._lock:
            for _ in range(2):
                if self._is_off:
                    return None
                try:
                    if self._db is None:
                        self.folder.mkdir(parents=True, exist_ok=True)
                        self._file = _newest(self.folder)
                        self._db = _open(self._file)
                    return task(self._db)
                except (sqlite3.OperationalError, OSError) as error:
                    log.warning("score cache %s: not used any more (%s)", self.folder, error)
                    self._disable()
                except (sqlite3.DatabaseError, _DamagedError) as error:
                    self._set_aside(error)
            return None

    def _set_aside(self, error: Exception) -> None:
        """Begin the file with the next number, unless another process has begun it."""
        file = self._file
        self._disconnect()
        log.warning("score cache %s: invalid file (%s); a new cache is used instead", file, error)
        following = _file(self.folder, _number(file) + 1)
        try:
            following.touch(mode=0o600)
            for name in self.folder.iterdir():
                if 0 <= _number(name) < _number(file):
                    name.unlink(missing_ok=True)
        except OSError as problem:
            log.warning("score cache %s: not used any more (%s)", self.folder, problem)
            self._disable()

    def _disable(self) -> None:
        self._is_off = True
        self._disconnect()

    def _disconnect(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None


def open_cache(
    asked: str | Path | None, settings_digest: str, *, hashes: bool = False
) -> DiskCache | None:
    """Return the cache in the folder that `cache_folder` finds, None for no cache."""
    folder = cache_folder(asked)
    return None if folder is None else DiskCache(folder, settings_digest, hashes=hashes)


def cache_folder(asked: str | Path | None) -> Path | None:
    """Return the folder of the score cache, None for no cache.

    `asked` is a folder or `none`; where it is None, the variable LIBREHPS_CACHE decides, and
    without that variable there is no cache.
    """
    given = os.environ.get(VARIABLE) if asked is None else asked
    return None if not given or str(given) == NO_CACHE else Path(given).expanduser()


def _open(file: Path) -> sqlite3.Connection:
    """Return a connection to the file, which is made if necessary."""
    db = sqlite3.connect(
        file, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
    )
    try:
        # Works wherever files can be locked; a write-ahead log needs shared memory.
        db.execute("PRAGMA journal_mode = DELETE")
        db.execute("PRAGMA synchronous = NORMAL")
        if _marks(db) != MARKS:
            with _transaction(db):
                # Another process may have made the tables meanwhile.
                if _marks(db) != MARKS:
                    _make(db)
        if _used_bytes(db) <= MAX_CHECKED_BYTES:
            [found] = db.execute("PRAGMA quick_check(1)").fetchone()
            if found != "ok":
                raise _DamagedError("a page is damaged")
    except BaseException:
        db.close()
        raise
    return db


def _make(db: sqlite3.Connection) -> None:
    tables = db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if tables or _marks(db) != (0, 0):
        raise _DamagedError(f"expected version {MARKS[1]}, got {_marks(db)[1]}")
    for statement in TABLES:
        db.execute(statement)
    db.execute(f"PRAGMA application_id = {MARKS[0]}")
    db.execute(f"PRAGMA user_version = {MARKS[1]}")


class _transaction:  # noqa: N801 - used like a function
    """A context manager around one write, which is undone after an error."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def __enter__(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._db.execute("COMMIT")
        elif self._db.in_transaction:
            self._db.execute("ROLLBACK")


def _marks(db: sqlite3.Connection) -> tuple[int, int]:
    names = ("application_id", "user_version")
    application, version = (db.execute(f"PRAGMA {name}").fetchone()[0] for name in names)
    return application, version


def _used_bytes(db: sqlite3.Connection) -> int:
    names = ("page_count", "freelist_count", "page_size")
    pages, free, size = (db.execute(f"PRAGMA {name}").fetchone()[0] for name in names)
    return int((pages - free) * size)


def _newest(folder: Path) -> Path:
    return _file(folder, max((_number(name) for name in folder.iterdir()), default=1))


def _file(folder: Path, number: int) -> Path:
    return folder / f"scores-{max(number, 1)}.sqlite"


def _number(file: Path) -> int:
    """Return the number in the name of a cache file; -1 for another file."""
    match = FILE.fullmatch(file.name)
    return int(match[1]) if match else -1


def _today() -> int:
    return int(time.time() // DAY_S)


def _to_value(key: bytes, score: CachedScore) -> bytes:
    frames = None if score.frames is None else list(score.frames)
    return _checked(key, [*score.raw, score.width, score.height, frames, sorted(score.remarks)])


def _checked(key: bytes, content: Any) -> bytes:
    """Return JSON after its checksum."""
    # JSON keeps every bit of a finite float64.
    text = json.dumps(content, separators=(",", ":"), allow_nan=False).encode()
    return _checksum(key, text) + text


def _json(key: bytes, value: bytes) -> Any:
    text = value[CHECK_BYTES:]
    if value[:CHECK_BYTES] != _checksum(key, text):
        raise _DamagedError("an entry does not match its checksum")
    return json.loads(text)


def _from_value(key: bytes, value: bytes) -> CachedScore:
    mu, sigma, scalar, width, height, frames, remarks = _json(key, value)
    indices = None if frames is None else tuple(frames)
    raw = RawScore(tuple(mu), tuple(sigma), scalar)
    return CachedScore(raw, width, height, indices, frozenset(remarks))


def _checksum(key: bytes, text: bytes) -> bytes:
    return hashlib.blake2b(key + text, digest_size=CHECK_BYTES).digest()
