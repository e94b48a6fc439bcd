"""The media of an item: bytes, kind and hash, read at most once."""

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from librehps.errors import BrokenMediaError, MediaError
from librehps.media.containers import (
    HEAD_BYTES,
    IMAGE_SUFFIXES,
    VIDEO_SUFFIXES,
    container_of,
    kind_of,
    read_bytes,
)
from librehps.media.durations import is_animated, may_be_animated
from librehps.media.faults import media_error
from librehps.media.lazy import Lazy
from librehps.storage.faults import fault
from librehps.storage.places import is_remote
from librehps.types import Kind, Stored

HASH_BLOCK_BYTES = 1 << 20
NO_STEMS = ("", ".", "/", "\\")
KINDS: dict[str, Kind] = {
    **dict.fromkeys(IMAGE_SUFFIXES, "image"),
    **dict.fromkeys(VIDEO_SUFFIXES, "video"),
}


# Errors of the readers of files: an invalid path, or content that a reader does not handle.
READ_ERRORS = (ValueError, OSError, MemoryError, RecursionError)


def unreadable(name: str, error: Exception) -> MediaError:
    """Return the error of an item whose media or prompt raised one of READ_ERRORS."""
    return MediaError(f"{name} cannot be read: {type(error).__name__}: {error}")


def place_of(media: Any) -> str:
    """Return the path or URL of the file that holds the media; empty for media in memory."""
    if isinstance(media, str):
        return media
    if isinstance(media, Stored):
        return media.place
    return str(media) if isinstance(media, Path) else ""


def is_remote_media(media: Any) -> bool:
    """Return whether the media are stored at a URL. A text is a local path."""
    return not isinstance(media, str) and isinstance(media, Stored) and is_remote(media.place)


class TagReader(Protocol):
    """A reader of the tags in a clip's container (`VideoReader` or `VideoReaders`)."""

    def tags(self, path: Path) -> dict[str, str]: ...


class Media:
    """The media of one item; `name` is used in messages, `tag_reader` for a clip's tags.

    `called` is the name of media in memory. `remarks` are names of `librehps.media.remarks`, on the
    item's prompt. One thread at a time uses it: what was read is kept without a lock, which threads
    with other media would share.
    """

    # Until the bytes are read; here, since a run makes media for each item.
    _data: bytes | None = None
    _failure: MediaError | None = None

    def __init__(
        self, media: Any, tag_reader: TagReader | None = None, called: str | None = None
    ) -> None:
        self._tag_reader, self._called, self._given = tag_reader, called, media

    @Lazy
    def remarks(self) -> set[str]:
        """Names of `librehps.media.remarks` on the item's prompt."""
        return set()

    @Lazy
    def media(self) -> Any:
        """The media, text as a path."""
        return Path(self._given) if isinstance(self._given, str) else self._given

    @Lazy
    def name(self) -> str:
        """The name of the media in messages."""
        is_named = isinstance(self._given, str | Path | Stored)
        return str(self.media) if is_named else self._called or "the image"

    def frame_name(self, at: int) -> str:
        """Return the name in messages of a frame of a clip in memory."""
        return self.name if self._called is None else f"{self._called}[{at}]"

    @property
    def data(self) -> bytes:
        """The encoded bytes of a path, of stored media or of bytes; raises MediaError."""
        if self._failure is not None:
            raise self._failure
        if self._data is None:
            try:
                self._data = self._read()
            except MediaError as error:
                # Kept: another try of a URL would take as long.
                self._failure = error
                raise
        return self._data

    def load(self) -> int:
        """Read the bytes, or keep the error that `data` then raises; return the number of bytes."""
        try:
            return len(self.data)
        except MediaError:
            return 0
        except READ_ERRORS as error:
            self._failure = unreadable(self.name, error)
            return 0

    @property
    def is_remote(self) -> bool:
        """True for media whose bytes come over the network, which takes time but no core."""
        return is_remote_media(self._given)

    def _read(self) -> bytes:
        if isinstance(self.media, Stored):
            return self.media.read()
        if isinstance(self.media, Path):
            return read_bytes(self.media)
        if isinstance(self.media, bytes):
            return self.media
        raise MediaError(f"media of type {type(self.media).__name__} has no bytes")

    @property
    def is_encoded(self) -> bool:
        """True for a path, stored media or encoded bytes; false for pixels in memory."""
        return isinstance(self.media, Path | Stored | bytes)

    @property
    def file_name(self) -> str:
        """The file's name; empty for bytes and pixels in memory."""
        return self.media.name if isinstance(self.media, Path | Stored) else ""

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """Yield the encoded bytes as a file, of which only a part need be read."""
        if not isinstance(self.media, Path) or self._data is not None:
            yield BytesIO(self.data)
            return
        # Raises MediaError for a file that cannot be opened, as reading it whole does.
        read_bytes(self.media, 1)
        with self.media.open("rb") as file:
            yield file

    def tags(self) -> dict[str, str]:
        """Return the tags in the container of a clip; raises MediaError."""
        if self._tag_reader is None:
            # Imported here: images need no video reader.
            from librehps.media.videos import VideoReader

            self._tag_reader = VideoReader()
        if isinstance(self.media, Path):
            return self._tag_reader.tags(self.media)
        with self.as_file() as path:
            return self._tag_reader.tags(path)

    def head(self) -> bytes:
        """Return the first bytes of a path, of stored media or of bytes; raises MediaError."""
        if isinstance(self.media, Path) and self._data is None:
            return read_bytes(self.media, HEAD_BYTES)
        return self.data[:HEAD_BYTES]

    def kind(self) -> Kind:
        """Return the kind by suffix, else by the first bytes; a list of frames is a video."""
        return self._kind

    @Lazy
    def _kind(self) -> Kind:
        if isinstance(self.media, Path):
            return kind_of(self.media)
        if isinstance(self.media, Stored):
            return kind_by_name(self.media.name) or self._kind_of_bytes()
        if isinstance(self.media, bytes):
            return self._kind_of_bytes()
        return "video" if isinstance(self.media, list | tuple) else "image"

    @Lazy
    def is_animated(self) -> bool:
        """True for encoded bytes that are an image of more than one frame."""
        try:
            return may_be_animated(self.head()) and is_animated(self.data)
        except MediaError:
            # The decoder reports the error when it opens the media.
            return False

    def sha256(self) -> str | None:
        """Return the SHA-256 hex digest of the encoded bytes; None for pixels in memory."""
        return self._digest if self.is_encoded else None

    @Lazy
    def _digest(self) -> str:
        if isinstance(self.media, Path) and self._data is None:
            return _digest_of_file(self.media)
        return hashlib.sha256(self.data).hexdigest()

    @contextmanager
    def as_file(self) -> Iterator[Path]:
        """Yield a path to the media, for decoders that only read files.

        Raises BrokenMediaError if the file changes during the block.
        """
        if isinstance(self.media, Path):
            before = _stamp(self.media)
            yield self.media
            # Hashed between the two checks, so that the hash matches the decoded content.
            self.sha256()
            if _stamp(self.media) != before:
                raise BrokenMediaError(f"{self.name} changed while it was read")
            return
        with tempfile.TemporaryDirectory(prefix="librehps-") as folder:
            path = Path(folder, "clip")
            content = self.data
            try:
                path.write_bytes(content)
            except OSError as error:
                raise MediaError(f"{self.name} cannot be copied to {folder}: {error}") from error
            try:
                yield path
            except MediaError as error:
                raise type(error)(str(error).replace(str(path), self.name)) from error

    def _kind_of_bytes(self) -> Kind:
        try:
            return "video" if container_of(self.data[:HEAD_BYTES]) else "image"
        except MediaError:
            # The decoder reports the error when it opens the media.
            return "image"


def kind_by_name(name: str) -> Kind | None:
    """Return the kind that a name's suffix tells; None for an unsupported suffix."""
    dot = name.rfind(".")
    kind = KINDS.get(name[dot:].lower())
    if kind is not None and name[dot - 1 : dot] in NO_STEMS:
        # A name such as `.png` has no suffix. Only then, since each row of a manifest asks.
        return kind if os.path.splitext(name)[1] else None  # noqa: PTH122
    return kind


def _digest_of_file(path: Path) -> str:
    digest = hashlib.sha256()
    # Raises MediaError for a pipe or a device, which may have no end.
    read_bytes(path, 1)
    try:
        with path.open("rb") as file:
            while block := file.read(HASH_BLOCK_BYTES):
                digest.update(block)
    except OSError as error:
        raise media_error(fault(path, error)) from error
    return digest.hexdigest()


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except (OSError, ValueError):
        # The decoder reports the error when it opens the file.
        return None
    return found.st_size, found.st_mtime_ns
