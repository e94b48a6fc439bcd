"""From what a request names to an item: bytes in it, a path, a URL."""

import base64
import binascii
import errno
import os
import stat
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from librehps.errors import (
    BrokenMediaError,
    EmptyFileError,
    MediaError,
    MediaNotFoundError,
    MediaRefusedError,
    UnsupportedMediaError,
)
from librehps.serve.batcher import Pending
from librehps.serve.fetch import Fetcher, shortened
from librehps.serve.schemas import Media
from librehps.types import Item, Kind, Stored

# Longer ones name no file on any system.
LONGEST_PATH = 4096
# Folders are passed through, which asks for no right to list them; links are not followed.
FOLDER = getattr(os, "O_PATH", os.O_RDONLY) | getattr(os, "O_DIRECTORY", 0)
# To open a pipe must not wait for its writer.
FILE = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)
AS_IT_IS = getattr(os, "O_NOFOLLOW", 0)
# What a link that took the place of a folder or a file is met with.
SWAPPED = (errno.ELOOP, errno.EMLINK, errno.ENOTDIR)


@dataclass(frozen=True)
class Given(Stored):
    """Media in memory, which errors call as its client does; `file` is its name as a file."""

    called: str
    content: bytes = field(repr=False)
    file: str = ""

    def read(self) -> bytes:
        if not self.content:
            raise EmptyFileError(f"{self} is empty (zero bytes)")
        return self.content

    @property
    def name(self) -> str:
        return self.file

    def __str__(self) -> str:
        return self.called


@dataclass(frozen=True)
class MediaAccess:
    """Where media may come from: folders with links resolved, and what fetches URLs, if any.

    A file has at most `max_bytes`.
    """

    roots: tuple[Path, ...]
    fetcher: Fetcher | None
    max_bytes: int

    def pending(self, id: str, media: Media, prompt: str) -> Pending:
        """The item that a request names, to be loaded in a thread."""
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

    def _filed(self, id: str, path: str, prompt: str, kind: Kind | None) -> Item:
        return Item(id, self._inside(path), prompt, kind)

    def _fetched(self, id: str, url: str, prompt: str) -> Item:
        if self.fetcher is None:
            raise MediaRefusedError("this server fetches no URLs")
        return Item(id, Given(shortened(url), self.fetcher.fetch(url)), prompt)

    def _inside(self, path: str) -> Given:
        """The file in one of the folders; raises MediaError.

        The same words for all that lies outside, whether it exists or not.
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
        raise absent or MediaRefusedError(f"{name} is in no folder that this server reads from")


def _resolved(root: Path, path: str) -> Path | None:
    """The place with links resolved, where that is in the root."""
    if len(path) > LONGEST_PATH:
        return None
    try:
        place = (root / path).resolve()
    except (OSError, ValueError, RuntimeError):
        # A name with NUL, or links that go round.
        return None
    return place if place.is_relative_to(root) else None


def _read(root: Path, place: Path, name: str, most: int) -> bytes:
    """Content of a regular file below the root, whatever becomes of its path meanwhile.

    Errors call it `name`; raises MediaError.
    """
    try:
        descriptor = _open(root, place)
        try:
            return _content(descriptor, name, most)
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        raise MediaNotFoundError(f"{name} does not exist") from None
    except OSError as error:
        if error.errno in SWAPPED:
            reason = f"{name} is in no folder that this server reads from"
            raise MediaRefusedError(reason) from error
        if error.errno == errno.ENXIO:
            raise UnsupportedMediaError(f"{name} is not a regular file") from error
        raise MediaError(f"{name} cannot be read: {error.strerror}") from error


def _content(descriptor: int, name: str, most: int) -> bytes:
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        what = "a folder" if stat.S_ISDIR(mode) else "not a regular file"
        raise UnsupportedMediaError(f"{name} is {what}")
    with open(descriptor, "rb", closefd=False) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise MediaError(f"{name} is larger than {most} bytes (the server's --max-body-mb)")
    return content


def _open(root: Path, place: Path) -> int:
    """A descriptor of what lies there, gone to folder by folder so that no link is followed."""
    *folders, last = place.relative_to(root).parts or (".",)
    at = os.open(root, FOLDER)
    try:
        for folder in folders:
            above, at = at, os.open(folder, FOLDER | AS_IT_IS, dir_fd=at)
            os.close(above)
        return os.open(last, FILE | AS_IT_IS, dir_fd=at)
    finally:
        os.close(at)


def _decoded(id: str, name: str, text: str, prompt: str, kind: Kind) -> Item:
    if text[:5].lower() == "data:":
        text = text.partition(",")[2]
    try:
        content = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        try:
            # Some writers break lines.
            content = base64.b64decode("".join(text.split()), validate=True)
        except (binascii.Error, ValueError) as error:
            raise BrokenMediaError(f"{name} is not base64: {error}") from error
    return Item(id, Given(name, content), prompt, kind)
