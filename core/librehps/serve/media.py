"""Load the media of a request: bytes in the request, a path, or a URL."""

import base64
import binascii
import errno
import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from librehps.errors import (
    BrokenMediaError,
    EmptyFileError,
    InvalidItemError,
    MediaError,
    MediaNotFoundError,
    MediaRefusedError,
    UnsupportedMediaError,
)
from librehps.serve.decoding import Pending
from librehps.serve.fetch import Fetcher, shortened
from librehps.serve.schemas import InvalidItem, Media
from librehps.serve.tensors import media_of
from librehps.types import Item, Kind, Stored

# No system has longer paths.
MAX_PATH_CHARS = 4096
# O_PATH: passing through a folder needs no permission to list it.
FOLDER_FLAGS = getattr(os, "O_PATH", os.O_RDONLY) | getattr(os, "O_DIRECTORY", 0)
# O_NONBLOCK: opening a pipe must not wait for its writer.
FILE_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)
NO_FOLLOW_FLAG = getattr(os, "O_NOFOLLOW", 0)
URL_ALPHABET = str.maketrans("-_", "+/")
# Errors of opening a link that has replaced a folder or a file.
SWAPPED_ERRNOS = (errno.ELOOP, errno.EMLINK, errno.ENOTDIR)


@dataclass(frozen=True)
class Given(Stored):
    """Media in memory; errors show `called`, the client's name for it; `file` is its file name."""

    called: str
    content: bytes = field(repr=False)
    file: str = ""

    def read(self) -> bytes:
        if not self.content:
            raise EmptyFileError(f"{self}: empty file (zero bytes)")
        return self.content

    @property
    def name(self) -> str:
        return self.file

    def __str__(self) -> str:
        return self.called


@dataclass(frozen=True)
class MediaAccess:
    """The allowed sources of media: folders (links resolved), and URLs if there is a fetcher.

    A file has at most `max_bytes`.
    """

    roots: tuple[Path, ...]
    fetcher: Fetcher | None
    max_bytes: int

    def pending(
        self, id: str, media: Media, prompt: str, tensors: Mapping[str, np.ndarray] | None = None
    ) -> Pending:
        """Return the item that a request names, not loaded yet; `tensors` are the request's own."""
        if media.tensor is not None:
            name = f"tensor {shortened(media.tensor)}"
            tensor = None if tensors is None else tensors.get(media.tensor)
            return Pending(id, name, partial(self._given, id, name, tensor, prompt))
        if media.frames_b64 is not None:
            load = partial(_framed, id, media.frames_b64, prompt)
            return Pending(id, "frames_b64", load)
        if media.url is not None:
            load = partial(self._fetched, id, media.url, prompt)
            return Pending(id, shortened(media.url), load, True)
        path = media.path if media.path is not None else media.video_path
        if path is not None:
            kind: Kind | None = "video" if media.path is None else None
            return Pending(id, shortened(path), partial(self._filed, id, path, prompt, kind))
        if media.image_b64 is not None:
            name, text, kind = "image_b64", media.image_b64, "image"
        else:
            name, text, kind = "video_b64", media.video_b64 or "", "video"
        return Pending(id, name, partial(_decoded, id, name, text, prompt, kind))

    def _given(self, id: str, name: str, tensor: np.ndarray | None, prompt: str) -> Item:
        if tensor is None:
            raise MediaNotFoundError(f"{name}: not found in the request's body")
        content = media_of(tensor, name)
        if isinstance(content, bytes):
            return Item(id, Given(name, content), prompt)
        return Item(id, content, prompt, "image" if content.ndim == 3 else "video")

    def _filed(self, id: str, path: str, prompt: str, kind: Kind | None) -> Item:
        return Item(id, self._inside(path), prompt, kind)

    def _fetched(self, id: str, url: str, prompt: str) -> Item:
        if self.fetcher is None:
            raise MediaRefusedError("URLs are not allowed on this server (--url-host)")
        return Item(id, Given(shortened(url), self.fetcher.fetch(url)), prompt)

    def _inside(self, path: str) -> Given:
        """Return the file in one of the allowed folders; raises MediaError.

        The message for a path outside does not tell whether the path exists.
        """
        name, absent = shortened(path), None
        for root in self.roots:
            place = _resolved(root, path)
            if place is None:
                continue
            try:
                return Given(name, _read(root, place, name, self.max_bytes), place.name)
            except MediaNotFoundError as error:
                absent = error
        raise absent or MediaRefusedError(_outside(name))


def invalid(id: str, item: InvalidItem) -> Pending:
    """Return an item whose loading fails with the reason why the item is invalid."""

    def load() -> Item:
        raise InvalidItemError(item.reason)

    return Pending(id, "item", load)


def _outside(name: str) -> str:
    return f"{name}: path not allowed (expected a path in the server's --media-root)"


def _resolved(root: Path, path: str) -> Path | None:
    """Return the path with links resolved, None if outside the root."""
    if len(path) > MAX_PATH_CHARS:
        return None
    try:
        place = (root / path).resolve()
    except (OSError, ValueError, RuntimeError):
        # A path with NUL, or a loop of links.
        return None
    return place if place.is_relative_to(root) else None


def _read(root: Path, place: Path, name: str, most: int) -> bytes:
    """Return the content of a regular file below the root, safe against concurrent renames.

    Errors show `name` for the file; raises MediaError.
    """
    try:
        descriptor = _open(root, place)
        try:
            return _content(descriptor, name, most)
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        raise MediaNotFoundError(f"{name}: file not found") from None
    except OSError as error:
        if error.errno in SWAPPED_ERRNOS:
            raise MediaRefusedError(_outside(name)) from error
        if error.errno == errno.ENXIO:
            raise UnsupportedMediaError(f"{name}: not a regular file") from error
        raise MediaError(f"cannot read {name}: {error.strerror}") from error


def _content(descriptor: int, name: str, most: int) -> bytes:
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        reason = "is a folder" if stat.S_ISDIR(mode) else "not a regular file"
        raise UnsupportedMediaError(f"{name}: {reason}")
    with open(descriptor, "rb", closefd=False) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise MediaError(
            f"{name}: file too large (at most {most} bytes; the server's --max-body-mb)"
        )
    return content


def _open(root: Path, place: Path) -> int:
    """Return a descriptor of the file, opened folder by folder so that no link is followed."""
    *folders, last = place.relative_to(root).parts or (".",)
    at = os.open(root, FOLDER_FLAGS)
    try:
        for folder in folders:
            above, at = at, os.open(folder, FOLDER_FLAGS | NO_FOLLOW_FLAG, dir_fd=at)
            os.close(above)
        return os.open(last, FILE_FLAGS | NO_FOLLOW_FLAG, dir_fd=at)
    finally:
        os.close(at)


def _decoded(id: str, name: str, text: str, prompt: str, kind: Kind) -> Item:
    return Item(id, Given(name, _bytes_of(text, name)), prompt, kind)


def _framed(id: str, texts: Sequence[str], prompt: str) -> Item:
    frames = [_bytes_of(text, f"frames_b64[{at}]") for at, text in enumerate(texts)]
    return Item(id, frames, prompt, "video")


def _bytes_of(text: str, name: str) -> bytes:
    """Return the bytes in base64 or a data: URL; raises BrokenMediaError."""
    if text[:5].lower() == "data:":
        text = text.partition(",")[2]
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        try:
            return base64.b64decode(_standard(text), validate=True)
        except (binascii.Error, ValueError) as error:
            raise BrokenMediaError(f"{name}: invalid base64: {error}") from error


def _standard(text: str) -> str:
    """Return base64 in the alphabet of MIME, padded and in one line.

    Some encoders break lines, use the alphabet of URLs, or leave out the padding.
    """
    text = "".join(text.split()).translate(URL_ALPHABET).rstrip("=")
    return text + "=" * (-len(text) % 4)
