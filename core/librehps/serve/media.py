"""From what a request names to an item: bytes in it, a path, a URL."""

import base64
import binascii
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from librehps.errors import BrokenMediaError, EmptyFileError, MediaRefusedError
from librehps.serve.batcher import Pending
from librehps.serve.fetch import Fetcher
from librehps.serve.schemas import Media
from librehps.types import Item, Kind


@dataclass(frozen=True)
class Places:
    """Where media may come from: folders with links resolved, and what fetches URLs, if any."""

    roots: tuple[Path, ...]
    fetcher: Fetcher | None

    def pending(self, id: str, media: Media, prompt: str) -> Pending:
        """The item that a request names, to be loaded in a thread."""
        if media.url is not None:
            return Pending(id, media.url, partial(self._fetched, id, media.url, prompt), True)
        path = media.path if media.path is not None else media.video_path
        if path is not None:
            kind: Kind | None = "video" if media.path is None else None
            return Pending(id, path, partial(self._filed, id, path, prompt, kind))
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
        return Item(id, self.fetcher.fetch(url), prompt)

    def _inside(self, path: str) -> Path:
        """The file in one of the folders, links resolved; raises MediaRefusedError.

        The same words for all that lies outside, whether it exists or not.
        """
        found = [place for root in self.roots if (place := _resolved(root, path))]
        if not found:
            raise MediaRefusedError(f"{path} is in no folder that this server reads from")
        return next(filter(_exists, found), found[0])


def _resolved(root: Path, path: str) -> Path | None:
    try:
        place = (root / path).resolve()
    except (OSError, ValueError, RuntimeError):
        # A name with NUL, or links that go round.
        return None
    return place if place.is_relative_to(root) else None


def _exists(place: Path) -> bool:
    try:
        return place.exists()
    except OSError:
        # A name that is too long.
        return False


def _decoded(id: str, name: str, text: str, prompt: str, kind: Kind) -> Item:
    if text.startswith("data:"):
        text = text.partition(",")[2]
    try:
        content = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        try:
            # Some writers break lines.
            content = base64.b64decode("".join(text.split()), validate=True)
        except (binascii.Error, ValueError) as error:
            raise BrokenMediaError(f"{name} is not base64: {error}") from error
    if not content:
        raise EmptyFileError(f"{name} is empty (zero bytes)")
    return Item(id, content, prompt, kind)
