"""An index of a tar's members: sorted or not, joined, linked, and of tars that are cut short."""

import posixpath
import sqlite3
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import BinaryIO

from librehps.errors import StorageError, StorageNetworkError
from librehps.storage.url_path import AnyPath, UrlPath

BLOCK_BYTES = tarfile.BLOCKSIZE
READ_BYTES = 1 << 20
MAX_LINKS = 16
# Texts that are kept of a remote tar: to read each of them again would be a request each. A longer
# .txt or .json member is no caption.
TEXT_SUFFIXES, MAX_TEXT_BYTES = (".txt", ".json"), 1 << 20
TABLES = """
PRAGMA synchronous = OFF;
CREATE TABLE sample (id INTEGER PRIMARY KEY, section INTEGER, key BLOB, UNIQUE (section, key));
CREATE TABLE member (seq INTEGER PRIMARY KEY, sample INTEGER, section INTEGER, name BLOB,
    path BLOB, offset INTEGER, size INTEGER, link BLOB, problem TEXT);
CREATE TABLE text (offset INTEGER PRIMARY KEY, content BLOB);
CREATE INDEX member_path ON member (path, seq);
"""
FIELDS = "seq, sample, section, name, offset, size, link, problem"


@dataclass(frozen=True)
class Member:
    """A file in a tar: `size` bytes from `offset`, or a link to the member `link`.

    `section` numbers the tars of a joined file. `problem` is why the content cannot be read.
    """

    seq: int
    sample: int
    section: int
    name: str
    offset: int
    size: int
    link: str
    problem: str | None


class TarIndex:
    """The members of a tar, kept in a temporary file, so that memory stays small.

    `damage` is why the tar could not be read to its end, None for a whole tar. `skipped` counts
    the members that are no files, and files that macOS and tar write for themselves.
    """

    def __init__(self, file: AnyPath) -> None:
        self._file, self.damage, self.skipped = file, "", 0
        self.last: Member | None = None
        self._opened: BinaryIO | None = None
        self._base = sqlite3.connect("")
        self._base.executescript(TABLES)
        self._keeps_texts = isinstance(file, UrlPath)
        try:
            self._size = file.stat().st_size
            with file.open("rb") as stream:
                start, section = 0, 0
                while start >= 0:
                    start, section = self._read_section(stream, start, section), section + 1
        except StorageNetworkError:
            # A listing without the rest of the tar would lose its items.
            raise
        except StorageError as error:
            self.damage = str(error)
        except OSError as error:
            self.damage = f"{file} cannot be read: {error}"

    def close(self) -> None:
        self._base.close()
        if self._opened is not None:
            self._opened.close()

    def members(self) -> Iterator[Member]:
        """Yield the members in the order of the tar."""
        rows = self._base.execute(f"SELECT {FIELDS} FROM member ORDER BY seq")  # noqa: S608
        yield from map(_member, rows)

    def samples(self) -> Iterator[list[Member]]:
        """Yield the members of each sample, in the order of the samples' first members."""
        rows = self._base.execute(f"SELECT {FIELDS} FROM member ORDER BY sample, seq")  # noqa: S608
        for _, members in groupby(map(_member, rows), lambda member: member.sample):
            yield list(members)

    def earlier(self, member: Member) -> int:
        """Return the number of earlier members of the same name, as in tars that were joined."""
        found = self._base.execute(
            "SELECT COUNT(*) FROM member WHERE path = ? AND seq < ?",
            (_bytes(_path(member.name)), member.seq),
        ).fetchone()
        return int(found[0])

    def target(self, member: Member) -> Member:
        """Return the file that a member links to, or the member; raises ValueError if not found."""
        found = member
        for _ in range(MAX_LINKS):
            if not found.link:
                return found
            if found.link.startswith(("/", "../")) or found.link == "..":
                raise ValueError(f"is a link to a file outside the tar: {found.link}")
            row = self._base.execute(
                f"SELECT {FIELDS} FROM member WHERE path = ? AND seq != ? "  # noqa: S608
                "ORDER BY section = ? DESC, seq < ? DESC, seq DESC LIMIT 1",
                (_bytes(found.link), found.seq, member.section, found.seq),
            ).fetchone()
            if row is None:
                raise ValueError(f"is a link to {found.link}, which is not in the tar")
            found = _member(row)
        raise ValueError("is a link that leads to itself")

    def text(self, member: Member) -> bytes:
        """Return the content of a short text; raises OSError or StorageError."""
        where = "SELECT content FROM text WHERE offset = ?"
        if kept := self._base.execute(where, (member.offset,)).fetchone():
            return bytes(kept[0])
        if self._opened is None:
            # Kept open: to open a file for each text takes longer than to read it.
            self._opened = self._file.open("rb")
        self._opened.seek(member.offset)
        return self._opened.read(member.size)

    def _read_section(self, stream: BinaryIO, start: int, section: int) -> int:
        """Index one of the joined tars; return the start of the next, -1 if there is none."""
        stream.seek(start)
        at = start
        try:
            with tarfile.open(fileobj=stream, mode="r:") as tar:
                while (info := tar.next()) is not None:
                    # Without this, `tarfile` would keep every member.
                    tar.members = []  # type: ignore[attr-defined]
                    at = tar.offset
                    if self._keeps_texts:
                        self._keep_text(info, stream)
                    if self._add(info, section):
                        return -1
                at = tar.offset
        except (tarfile.TarError, ValueError) as error:
            if self._is_cut_at(stream, at):
                self._cut()
            else:
                self.damage = f"{self._file} is damaged at byte {at}: {error}"
            return -1
        return self._next_section(stream, at)

    def _keep_text(self, info: tarfile.TarInfo, stream: BinaryIO) -> None:
        is_text = info.isreg() and info.name.lower().endswith(TEXT_SUFFIXES)
        if is_text and not info.issparse() and info.size <= MAX_TEXT_BYTES:
            stream.seek(info.offset_data)
            row = (info.offset_data, stream.read(info.size))
            self._base.execute("INSERT OR REPLACE INTO text VALUES (?, ?)", row)

    def _add(self, info: tarfile.TarInfo, section: int) -> bool:
        """Index a member; return whether the tar is cut short within its content."""
        is_cut = info.isreg() and not info.issparse() and (
            info.offset_data + info.size > self._size
        )  # fmt: skip
        path = _path(info.name)
        if is_cut:
            self._cut(f": {info.name} has {self._size - info.offset_data} of {info.size} bytes")
        if info.isdir():
            return is_cut
        if _is_byproduct(path) or not (info.isreg() or info.issym() or info.islnk()):
            self.skipped += 1
            return is_cut
        problem = self.damage if is_cut else None
        if info.issparse():
            problem = f"{self._file}::{info.name} is a sparse file (pack the tar without --sparse)"
        link = ""
        if info.issym():
            link = _path(posixpath.join(posixpath.dirname(path), info.linkname))
        elif info.islnk():
            link = _path(info.linkname)
        self._insert(info, section, path, link, problem)
        return is_cut

    def _insert(
        self, info: tarfile.TarInfo, section: int, path: str, link: str, problem: str | None
    ) -> None:
        run = self._base.execute
        key = (section, _bytes(_key(path)))
        run("INSERT OR IGNORE INTO sample (section, key) VALUES (?, ?)", key)
        [sample] = run("SELECT id FROM sample WHERE section = ? AND key = ?", key).fetchone()
        content = (info.offset_data, info.size, _bytes(link), problem)
        row = (sample, section, _bytes(info.name), _bytes(path), *content)
        done = run(
            "INSERT INTO member (sample, section, name, path, offset, size, link, problem) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            row,
        )
        place = (info.offset_data, info.size, link, problem)
        self.last = Member(done.lastrowid or 0, sample, section, info.name, *place)

    def _cut(self, where: str = "") -> None:
        self.damage = (
            f"{self._file} is cut short at byte {self._size}{where} "
            "(download or pack the tar again)"
        )

    def _is_cut_at(self, stream: BinaryIO, at: int) -> bool:
        """Return whether the header at a byte, or the text of a long name in it, ends too early."""
        stream.seek(at)
        header = stream.read(BLOCK_BYTES)
        if len(header) < BLOCK_BYTES:
            return True
        try:
            size = int(header[124:136].strip(b" \0") or b"0", 8)
        except ValueError:
            return False
        is_long_name = header[156:157] in (b"x", b"g", b"X", b"L", b"K")
        return is_long_name and at + 2 * BLOCK_BYTES + -(-size // BLOCK_BYTES) * BLOCK_BYTES > (
            self._size
        )

    def _next_section(self, stream: BinaryIO, end: int) -> int:
        """Return the start of a tar behind the zeros that end one; -1 if there is none."""
        stream.seek(end)
        block = stream.read(BLOCK_BYTES)
        if len(block) < BLOCK_BYTES:
            self._cut()
            return -1
        if any(block):
            # `tarfile` stops at such a block without a word.
            self.damage = f"{self._file} is damaged at byte {end} (download or pack the tar again)"
            return -1
        at = end + BLOCK_BYTES
        while blocks := stream.read(READ_BYTES):
            if any(blocks):
                inside = len(blocks) - len(blocks.lstrip(b"\0"))
                return at + inside // BLOCK_BYTES * BLOCK_BYTES
            at += len(blocks)
        return -1


def _member(row: tuple[int, int, int, bytes, int, int, bytes, str | None]) -> Member:
    seq, sample, section, name, offset, size, link, problem = row
    return Member(seq, sample, section, _text(name), offset, size, _text(link), problem)


def _bytes(name: str) -> bytes:
    # A name may have bytes that are no UTF-8, which SQLite refuses in text.
    return name.encode("utf-8", "surrogateescape")


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


def _path(name: str) -> str:
    return posixpath.normpath(name)


def _key(path: str) -> str:
    """Return the webdataset sample key: the path up to the first dot of its base name."""
    folder, _, base = path.rpartition("/")
    return f"{folder}/{base.split('.', 1)[0]}"


def _is_byproduct(path: str) -> bool:
    """Return whether a path holds attributes of other files, by macOS (`._a.png`) or by tar."""
    return any(
        part.startswith(("._", "PaxHeaders")) or part == "__MACOSX" for part in path.split("/")
    )
