"""Folders of the media of scored rows: recorded in a scored file, used from any other folder."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from librehps.files import BYTE, found_path, printable
from librehps.paths import GLOB_CHARS
from librehps.storage.places import shown
from librehps.storage.url_path import AnyPath, UrlPath

Record = dict[str, Any]
# Separates a tar or a Parquet file from the name of its member: `shard.tar::a.png`.
INSIDE = "::"
URL = "://"


def recorded(output: AnyPath, request: Mapping[str, Any] | None) -> Record:
    """Return the folders to store in a new output, whose run reads relative paths in this folder.

    `starts` are the folders of the paths and URLs that the run was given.
    """
    asked = request or {}
    # A worker of a cluster works in another folder than the run.
    folder = asked.get("folder") or os.getcwd()  # noqa: PTH109 - text, as it is stored
    paths = [path if _is_url(path) else _joined(folder, path) for path in asked.get("paths", ())]
    return {
        "folder": folder,
        "output": _whole(output.parent),
        "starts": list(dict.fromkeys(filter(None, map(_start, paths)))),
        "media_column": asked.get("media_column"),
        "root": asked.get("root") and shown(asked["root"]),
    }


@dataclass(frozen=True)
class Origin:
    """The folders that one scored file records, None if unknown.

    `folder` was the working folder of the run, `output` the folder of the file when it was
    written, `now` is the folder of the file. `media_column` and `root` are options of the run.
    """

    folder: str | None = None
    output: str | None = None
    now: str | None = None
    starts: tuple[str, ...] = ()
    media_column: str | None = None
    root: str | None = None

    @classmethod
    def of(cls, record: Mapping[str, Any], request: Mapping[str, Any], file: AnyPath) -> "Origin":
        """Return the origin of a scored file; older versions stored the folder in the request."""
        known = {**{name: request.get(name) for name in ("folder", "media_column", "root")},
                 **record}  # fmt: skip
        starts = known.get("starts") or map(_start, request.get("paths", ()))
        return cls(
            known["folder"],
            known.get("output"),
            None if isinstance(file, UrlPath) else os.path.realpath(file.parent),
            tuple(filter(None, starts)),
            known["media_column"],
            known["root"],
        )

    def bases(self) -> Iterator[str]:
        """Yield the folders in which relative paths may lie, likeliest first; "" is the current."""
        if self.folder is not None:
            yield self.folder
        if self.folder is not None and self.output is not None and self.now is not None:
            yield _moved(self.folder, self.output, self.now)
            return
        if self.folder is None:
            yield ""
        # Files of older versions do not tell where they lay.
        yield from (self.now, "") if self.now is not None else ("",)

    def after_move(self, path: str) -> str | None:
        """Return an absolute path after output and media were moved together."""
        if self.output is None or self.now is None or self.output == self.now:
            return None
        return _moved(path, self.output, self.now)


class FoundMedia(NamedTuple):
    """Existing paths of media, and the media that do not exist, as in their rows."""

    paths: list[str]
    missing: list[str]


@dataclass(frozen=True)
class MediaFolder:
    """The folders in which the media of a score table are looked for.

    First in `root`, a folder or URL of the user; then in the folder of the run; then where the
    media lie if they were moved together with the scored file; for files that do not record their
    folder, in the working folder.
    """

    origins: tuple[Origin, ...] = (Origin(),)
    root: str | None = None

    @classmethod
    def here(cls) -> "MediaFolder":
        """Return the folder of media that were scored in this working folder."""
        return cls((Origin(folder=os.getcwd()),))  # noqa: PTH109

    def under(self, root: str | Path | None) -> "MediaFolder":
        """Return the same folders, with another `root` unless that is None."""
        return self if root is None else replace(self, root=str(root))

    def find(self, media: str) -> str | None:
        """Return an existing path of a row's media, or a URL, unchecked; None if not found.

        The path is relative below the working folder, else absolute.
        """
        if URL not in media and not media.startswith(os.sep):
            # The common case, without a generator for each of many rows.
            prefix = self._first
            if prefix is not None and "\0" not in media and os.access(prefix + media, os.F_OK):
                return self._shown(prefix + media)
        return next(filter(None, map(_located, self._candidates(media))), None)

    def found(self, media: Iterable[str]) -> "FoundMedia":
        """Return the existing paths of the rows' media, and the media that were not found."""
        paths, missing = list[str](), list[str]()
        for text in media:
            path = self.find(text)
            missing.append(text) if path is None else paths.append(path)
        return FoundMedia(paths, missing)

    def start(self, media: str | None) -> str:
        """Return the folder of relative paths: where `media` lies, else the first recorded."""
        held = (base for base in self._bases if media and _located(_joined(base, media)))
        found = next(held, self._bases[0])
        return found if _is_url(found) else os.path.realpath(found)

    def whole(self, media: str) -> str:
        """Return the path that `find` gives, or for missing media the likeliest path."""
        return self.find(media) or next(self._candidates(media))

    def cells(self) -> tuple[str | None, str | None]:
        """Return the media column and the root that the run read Parquet files with."""
        for origin in self.origins:
            if origin.media_column is not None or origin.root is not None:
                return origin.media_column, origin.root and self.whole(origin.root)
        return None, None

    def record(self, output: AnyPath) -> Record | None:
        """Return the record for a file made from this table; None if the folder is unknown."""
        known = [origin for origin in self.origins if origin.folder is not None]
        if not known:
            return None
        first = known[0]
        bases = [base for base in (self.root, *first.bases()) if base and not _is_url(base)]
        folder = next((base for base in bases if Path(base).is_dir()), first.folder)
        return {
            "folder": os.path.realpath(folder or ""),
            "output": _whole(output.parent),
            "starts": list(dict.fromkeys(start for origin in known for start in origin.starts)),
            "media_column": first.media_column,
            "root": first.root,
        }

    @cached_property
    def _bases(self) -> list[str]:
        """The folders of relative paths."""
        found = [base for origin in self.origins for base in origin.bases()]
        return list(dict.fromkeys([*([] if self.root is None else [self.root]), *found]))

    @cached_property
    def _first(self) -> str | None:
        """The likeliest folder of relative paths, with a slash; None for a URL."""
        first = self._bases[0]
        if _is_url(first):
            return None
        return self._shown(os.path.join(first, "")) if first else ""  # noqa: PTH118

    @cached_property
    def _here(self) -> str:
        """The beginning of absolute paths below the working folder."""
        return os.path.join(os.getcwd(), "")  # noqa: PTH109, PTH118

    def _shown(self, path: str) -> str:
        """Return a path below the working folder as a relative path, and others unchanged."""
        is_below = len(self._here) > 1 and path.startswith(self._here)
        return path[len(self._here) :] if is_below else path

    def _candidates(self, media: str) -> Iterator[str]:
        if _is_url(media) or os.path.isabs(media):  # noqa: PTH117
            yield from self._mapped(media)
            yield media
            if not _is_url(media):
                moved = (origin.after_move(media) for origin in self.origins)
                yield from map(self._shown, filter(None, moved))
            return
        for base in self._bases:
            yield self._shown(_joined(base, media))
            if base == self.root:
                # Or the new place of a folder that the run was given, as of `outputs/`.
                folders = [origin.folder for origin in self.origins if origin.folder]
                for folder in folders:
                    yield from self._mapped(_joined(folder, media))

    def _mapped(self, media: str) -> Iterator[str]:
        """Yield the places of an absolute path or a URL below `root`."""
        if self.root is None:
            return
        for origin in self.origins:
            for start in filter(None, (*origin.starts, origin.folder)):
                above = printable(start).rstrip("/" + os.sep)
                if media.startswith((above + "/", above + os.sep)):
                    yield self._shown(_joined(self.root, media[len(above) + 1 :]))


def unite(origins: Sequence[Origin]) -> tuple[MediaFolder, list[str] | None]:
    """Return the media folder of joined files, and the folder of each file's relative paths.

    The folders are None where all relative paths start in the same folder.
    """
    folders = [next((b for b in o.bases() if Path(b or os.curdir).is_dir()), "") for o in origins]
    starts = list(map(os.path.realpath, folders))
    return MediaFolder(tuple(dict.fromkeys(origins))), starts if len(set(starts)) > 1 else None


def exists(place: str) -> bool:
    """Return whether a local path exists, or the file that a member lies in; True for a URL."""
    if _is_url(place):
        return True
    try:
        if os.access(place, os.F_OK):
            return True
        return INSIDE in place and any(map(os.path.isfile, containers(place)))
    except ValueError:
        # A path with a zero byte.
        return False


def _located(place: str) -> str | None:
    """Return the path, URL or member that exists; %XX stands for undecodable bytes of a name."""
    if exists(place):
        return place
    if not BYTE.search(place):
        return None
    for container in (place, *containers(place)):
        file = found_path(container)
        if file is not None and (container == place or Path(file).is_file()):
            return file + place[len(container) :]
    return None


def containers(place: str) -> Iterator[str]:
    """Yield the parts of a text before each `::`, any of which may be a tar or a Parquet file."""
    at = place.find(INSIDE)
    while at >= 0:
        yield place[:at]
        at = place.find(INSIDE, at + 1)


def _start(path: str) -> str | None:
    """Return the folder of an absolute path or URL that a run was given; None for other paths."""
    is_url = _is_url(path)
    if not (is_url or os.path.isabs(path)):  # noqa: PTH117
        return None
    path = shown(path).partition("?")[0] if is_url else path
    while not GLOB_CHARS.isdisjoint(path) or (
        PurePosixPath(path).suffix and not Path(path).is_dir()
    ):
        path = path.rpartition("/")[0]
    # A bucket's name may have a dot.
    return None if is_url and not _is_url(path) else path


def _whole(folder: AnyPath) -> str:
    return str(folder) if isinstance(folder, UrlPath) else os.path.realpath(folder)


def _moved(path: str, before: str, now: str) -> str:
    """Return the path that is to `now` as `path` is to `before`."""
    try:
        return os.path.normpath(os.path.join(now, os.path.relpath(path, before)))  # noqa: PTH118
    except ValueError:
        # On another drive of Windows.
        return path


def _joined(base: str, media: str) -> str:
    if _is_url(base):
        file, inside, member = media.partition(INSIDE)
        # A path that leads out of the bucket or host stays a local path, which is not found.
        found = UrlPath(base).below(file.replace(os.sep, "/"))
        return media if found is None else found.url + inside + member
    return os.path.join(base, media) if base else media  # noqa: PTH118


def _is_url(place: str) -> bool:
    return URL in place
