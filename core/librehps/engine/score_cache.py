"""The score cache: raw scores on disk by media and prompt, so that duplicates are scored once."""

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from librehps.engine.decode import Decoded
from librehps.errors import OutputError
from librehps.models.base import RawScore

# SQLite limits the number of values in one statement.
MAX_QUERY_KEYS = 500


def key_of(decoded: Decoded, prompt: str) -> bytes | None:
    """Return the cache key of media and prompt; None for pixels in memory."""
    if decoded.sha256 is None:
        return None
    text = f"{decoded.kind}\0{decoded.sha256}\0{prompt}"
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


class ScoreCache:
    """A cache of raw scores by key, in `file` (None: a temporary file that SQLite deletes).

    Raises OutputError if the file cannot be written, as on a full disk.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        with _translated(file):
            try:
                self._base = _opened(file)
            except sqlite3.DatabaseError:
                if file is None or not file.exists():
                    raise
                # Damaged by a power loss: start empty, since a lost entry costs one forward only.
                for name in (file.name, f"{file.name}-wal", f"{file.name}-shm"):
                    file.with_name(name).unlink(missing_ok=True)
                self._base = _opened(file)

    def find(self, keys: list[bytes]) -> dict[bytes, RawScore]:
        """Return the cached raw scores by key; keys that are not cached are left out."""
        found = {}
        with _translated(self._file):
            for start in range(0, len(keys), MAX_QUERY_KEYS):
                part = keys[start : start + MAX_QUERY_KEYS]
                marks = ",".join("?" * len(part))
                query = f"SELECT key, value FROM scores WHERE key IN ({marks})"  # noqa: S608 - only marks
                for key, value in self._base.execute(query, part):
                    found[key] = _raw_score(value)
        return found

    def add(self, outputs: Iterable[tuple[bytes, RawScore]]) -> None:
        """Store raw scores by key."""
        rows = [(k, json.dumps(o)) for k, o in outputs]
        with _translated(self._file), self._base:
            self._base.executemany("INSERT OR REPLACE INTO scores VALUES (?, ?)", rows)

    def close(self) -> None:
        self._base.close()


def _raw_score(value: str) -> RawScore:
    mu, sigma, scalar = json.loads(value)
    return RawScore(tuple(mu), tuple(sigma), scalar)


def _opened(file: Path | None) -> sqlite3.Connection:
    base = sqlite3.connect(file or "", check_same_thread=False)
    # A lost entry costs a forward, never a wrong row.
    base.execute("PRAGMA synchronous = OFF")
    if file is not None:
        base.execute("PRAGMA journal_mode = WAL")
    base.execute(
        "CREATE TABLE IF NOT EXISTS scores (key BLOB PRIMARY KEY, value TEXT) WITHOUT ROWID"
    )
    return base


@contextmanager
def _translated(file: Path | None) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise OutputError(
            f"score cache ({file or 'a temporary file'}) cannot be written: {error}",
            hint="Free space on that disk, then continue with --resume; the journal is kept.",
        ) from error
