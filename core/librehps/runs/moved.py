"""Runs that are resumed in another folder: relative paths must mean the same files there."""

import os
import shlex
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from librehps.errors import UsageError
from librehps.paths import glob_start
from librehps.storage.places import is_remote
from librehps.storage.url_path import AnyPath
from librehps.types import Item

# Listed media that are looked for in the folder where a run is resumed.
SAMPLE_ITEMS = 100


def check_folder(before: Mapping[str, Any], now: Mapping[str, Any], place: AnyPath) -> None:
    """Raise UsageError where a relative path of the request still is in the run's first folder.

    `before` and `now` are the facts of the two requests. A project that was moved left no path
    behind; two folders with the same names hold other files.
    """
    old, new = before.get("folder"), now.get("folder")
    if old is None or new is None or old == new:
        return
    paths = [str(glob_start(Path(path))) for path in now["paths"] if path != "-"]
    for path in _relative(paths):
        if os.path.lexists(Path(old, path)) and not _is_same(Path(old, path), Path(new, path)):
            raise UsageError(
                f"cannot resume {place}: started in {old}, where {path} still is, now in {new}",
                hint=f"Resume there: cd {shlex.quote(old)}; or use --overwrite to start over.",
            )


def check_media(items: Iterable[Item], folder: str, place: AnyPath) -> None:
    """Raise UsageError where the folder has none of the items' relative paths, but should."""
    media = list(_relative(item.media for item in items if isinstance(item.media, str)))
    if media and not any(os.path.lexists(Path(folder, path)) for path in media):
        raise UsageError(
            f"cannot resume {place}: {media[0]} not found in {folder}",
            hint="Resume in the folder that the paths are relative to: cd FOLDER",
        )


def _relative(paths: Iterable[str]) -> Iterator[str]:
    return (path for path in paths if not is_remote(path) and not Path(path).is_absolute())


def _is_same(one: Path, other: Path) -> bool:
    return other.exists() and one.exists() and one.samefile(other)
