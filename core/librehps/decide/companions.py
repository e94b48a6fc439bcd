"""Sidecar files of pictures: `a.txt`, `a.json`, `a.xmp` and `a.png.xmp` belong to `a.png`."""

import os
from collections import defaultdict
from pathlib import Path, PurePath
from typing import NamedTuple

from librehps.media.media import kind_by_name

# Folders whose names are kept in memory.
MAX_FOLDERS = 16
SUFFIXES = frozenset((".txt", ".json", ".xmp"))


class Companion(NamedTuple):
    """A sidecar, its path next to the picture's target, and whether other media share the file."""

    source: Path
    target: Path
    is_shared: bool


class Companions:
    """The sidecars in folders of media; a folder is listed once while it is in use."""

    def __init__(self) -> None:
        self._folders: dict[Path, dict[str, set[str]]] = {}

    def is_shared(self, media: Path) -> bool:
        """Return whether other media have this name with another suffix, as a.png and a.jpg."""
        return self._is_shared(media, self._stems(media.parent).get(media.stem, set()))

    def of(self, media: Path, target: Path) -> list[Companion]:
        """Return the sidecars of a media file, which may be gone, with their targets."""
        stems = self._stems(media.parent)
        alike = stems.get(media.stem, set())
        is_shared = self._is_shared(media, alike)
        found = [
            Companion(media.parent / name, target.with_name(target.stem + suffix), is_shared)
            for name in sorted(alike)
            if name != media.name and (suffix := _suffix(name))
        ]
        if media.stem == media.name:
            return found
        return found + [
            Companion(media.parent / name, target.with_name(target.name + suffix), False)
            for name in sorted(stems.get(media.name, set()))
            if (suffix := _suffix(name))
        ]

    def forget(self, file: Path) -> None:
        """Leave a file that was moved away out of its folder's list."""
        self._stems(file.parent).get(file.stem, set()).discard(file.name)

    @staticmethod
    def _is_shared(media: Path, alike: set[str]) -> bool:
        return any(kind_by_name(name) for name in alike - {media.name})

    def _stems(self, folder: Path) -> dict[str, set[str]]:
        if folder not in self._folders:
            stems = defaultdict[str, set[str]](set)
            try:
                names = os.listdir(folder)  # noqa: PTH208 - names, without a Path for each
            except OSError:
                # Its media are errors already, or cannot have sidecars.
                names = []
            for name in names:
                stems[PurePath(name).stem].add(name)
            if len(self._folders) >= MAX_FOLDERS:
                # The oldest.
                self._folders.pop(next(iter(self._folders)))
            self._folders[folder] = stems
            return stems
        return self._folders[folder]


def _suffix(name: str) -> str:
    """Return the suffix of a sidecar's name, empty for another file."""
    suffix = PurePath(name).suffix
    return suffix if suffix.lower() in SUFFIXES else ""
