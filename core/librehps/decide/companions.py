"""Sidecar files of pictures: `a.txt`, `a.json`, `a.xmp` and `a.png.xmp` belong to `a.png`."""

import os
from pathlib import Path
from threading import Lock
from typing import NamedTuple

from librehps.media.media import KINDS

SIDECAR_SUFFIXES = (".txt", ".json", ".xmp")
SUFFIXES = (*SIDECAR_SUFFIXES, *(suffix.upper() for suffix in SIDECAR_SUFFIXES))
MEDIA_SUFFIXES = (*KINDS, *(suffix.upper() for suffix in KINDS))
# Names that are kept in memory, of all folders in use.
MAX_NAMES = 1_000_000


class Companion(NamedTuple):
    """A sidecar, its path next to the picture's target, and whether other media share the file."""

    source: Path
    target: Path
    is_shared: bool


class Companions:
    """The sidecars in folders of media; a folder is listed once while it is in use.

    Several threads may ask at the same time.
    """

    def __init__(self) -> None:
        self._folders: dict[Path, set[str]] = {}
        self._count, self._lock = 0, Lock()

    def is_shared(self, media: Path) -> bool:
        """Return whether other media have this name with another suffix, as a.png and a.jpg."""
        names = self._names(media.parent)
        return any(
            media.stem + suffix in names for suffix in MEDIA_SUFFIXES if suffix != media.suffix
        )

    def of(self, media: Path, target: Path) -> list[Companion]:
        """Return the sidecars of a media file, which may be gone, with their targets."""
        names, is_shared = self._names(media.parent), self.is_shared(media)
        stems = {media.stem: (target.stem, is_shared), media.name: (target.name, False)}
        return [
            Companion(media.parent / f"{stem}{suffix}", target.with_name(new + suffix), shared)
            for stem, (new, shared) in stems.items()
            for suffix in SUFFIXES
            if stem + suffix in names
        ]

    def forget(self, file: Path) -> None:
        """Leave a file that was moved away out of its folder's list."""
        self._names(file.parent).discard(file.name)

    def _names(self, folder: Path) -> set[str]:
        with self._lock:
            if folder not in self._folders:
                while self._folders and self._count > MAX_NAMES:
                    self._count -= len(self._folders.pop(next(iter(self._folders))))
                self._folders[folder] = _listed(folder)
                self._count += len(self._folders[folder])
            return self._folders[folder]


def _listed(folder: Path) -> set[str]:
    try:
        return set(os.listdir(folder))  # noqa: PTH208 - names, without a Path for each
    except OSError:
        # Its media are errors already, or cannot have sidecars.
        return set()
