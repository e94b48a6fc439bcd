"""Chosen media copied, linked or moved into a folder under given names; nothing is overwritten."""

import errno
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

from librehps.choices import Way
from librehps.decide.companions import Companion, Companions
from librehps.decide.moves import MoveRecord, check_movable, delete_moved, is_same, move_file
from librehps.errors import MediaError, MediaNotFoundError, OutputError, UsageError
from librehps.files import counted
from librehps.media.archived import ParquetCell, Remote, TarMember
from librehps.media.named import Found
from librehps.types import Stored

log = logging.getLogger("librehps")

ROOT_HINT = "Name the folder or URL in which the media lie: --root FOLDER."
BLOCK_BYTES = 1 << 20
# Media at URLs that are read at the same time.
MAX_REMOTE_READS = 16
Pair = tuple[Path | Stored, Path]
PAST: dict[Way, str] = {"copy": "copied", "link": "linked", "move": "moved"}


@dataclass(frozen=True)
class Copied:
    """The result of a copy: the number of files written, and by name why others were not.

    `moved` has the new path of each media that was moved, by its text in the column media.
    """

    files: int
    failed: Mapping[str, str] = field(default_factory=dict)
    moved: Mapping[str, str] = field(default_factory=dict)


def suffix_of(media: Found) -> str:
    """Return the suffix of a media's file name, such as `.png`."""
    return PurePath(media.name).suffix if isinstance(media, Path | Stored) else ""


def place(
    media: Sequence[str | Found],
    names: Sequence[str],
    folder: Path,
    way: Way = "copy",
    sidecars: bool | None = None,
) -> Copied:
    """Copy each media to `folder`/name, or link to the file, or move the file.

    Media inside tars and Parquet files and media at URLs are copied, also for links. `sidecars`
    such as `a.txt` go with their media (default: when media are moved). Media that cannot be read
    are named in the result and in a warning; the others are copied. All targets are checked before
    the first copy; folders are created. Raises UsageError if a target exists, or if a media cannot
    be moved, MediaError if no media can be read, and OutputError for a name that is duplicate or
    leads out of the folder, and for a failed write.
    """
    targets = _targets(names, folder)
    sources = [Path(one) if isinstance(one, str) else one for one in media]
    with_sidecars = way == "move" if sidecars is None else sidecars
    putter = _Putter(way, Companions() if with_sidecars else None)
    resumed = set[Path]()
    record = None
    if way == "move":
        check_movable(sources)
        record = MoveRecord(Path(os.path.realpath(folder)))
        resumed = {t for s, t in zip(sources, targets, strict=True)
                   if isinstance(s, Path) and record.resumes(s, t)}  # fmt: skip
    sources = [source if target in resumed else _checked(source)
               for source, target in zip(sources, targets, strict=True)]  # fmt: skip
    pairs = list(zip(sources, targets, strict=True))
    whole = sorted(
        ((source, target) for source, target in pairs if not isinstance(source, MediaError)),
        key=_position,
    )
    problems = {target: source for source, target in pairs if isinstance(source, MediaError)}
    if whole:
        _check_room([target for _, target in whole if target not in resumed], folder)
        if record is None:
            _warn(folder, sum(way == "link" and isinstance(source, Stored) for source, _ in whole))
        else:
            record.plan((s, t) for s, t in whole if isinstance(s, Path))
    problems |= _put_all(whole, putter, len(pairs))
    done = len(pairs) - len(problems)
    failed = {i: problems[t] for t, i in zip(targets, names, strict=True) if t in problems}
    return _result(done, failed, way)


def _put_all(whole: Sequence[Pair], putter: "_Putter", total: int) -> dict[Path, MediaError]:
    """Put every media, and return the errors of those that cannot be read, by target."""
    problems, done = dict[Path, MediaError](), 0
    with _mapped(whole) as run:
        for (_, target), problem in zip(whole, run(putter, whole), strict=True):
            if problem is None:
                done += 1
            elif isinstance(problem, MediaError):
                problems[target] = problem
            else:
                advice = "Run the command again to go on, with the same flags."
                if putter.way != "move":
                    advice = "Remove them before a retry."
                hint = f"{done} of {total} files are done. {advice}"
                raise OutputError(str(problem), hint=hint) from problem.__cause__
    if putter.left:
        log.warning(
            "%s left in place, since the new name is taken: %s",
            counted(len(putter.left), "sidecar"), putter.left[0],
        )  # fmt: skip
    return problems


def _result(done: int, failed: dict[str, MediaError], way: Way) -> Copied:
    if failed:
        first = next(iter(failed.values()))
        told = f"{first}{_more([*failed])}"
        if not done:
            raise type(first)(told, hint=ROOT_HINT)
        total = done + len(failed)
        log.warning("%d of %d files are not %s: %s", len(failed), total, PAST[way], told)
    return Copied(done, {name: str(error) for name, error in failed.items()})


def _targets(ids: Sequence[str], folder: Path) -> list[Path]:
    """Return the real path of each id; raises OutputError for an id outside the folder."""
    root = Path(os.path.realpath(folder))
    parents: dict[PurePath, Path] = {}
    taken: dict[Path, str] = {}
    for name in ids:
        path = PurePath(name)
        if not path.name or path.anchor or ".." in path.parts or "\0" in name:
            raise OutputError(f"id {name!r} is not the name of a file inside {folder}")
        if path.parent not in parents:
            parent = Path(os.path.realpath(root / path.parent))
            if not parent.is_relative_to(root):
                raise OutputError(
                    f"id {name!r} leads out of {folder}: a folder in its path links to {parent}",
                    hint="Give an empty folder, or remove the link.",
                )
            parents[path.parent] = parent
        target = parents[path.parent] / path.name
        if target in taken:
            raise OutputError(f"duplicate target {target} of ids {taken[target]!r} and {name!r}")
        taken[target] = name
    return list(taken)


def _check_room(targets: list[Path], folder: Path) -> None:
    """Raise UsageError if a target exists, and OutputError if a folder cannot be created."""
    existing = [target for target in targets if os.path.lexists(target)]
    if existing:
        raise UsageError(
            f"{existing[0]} already exists{_more(existing)}",
            hint="Give an empty folder: files are never overwritten.",
        )
    wanted = {
        parent for target in {t.parent for t in targets} for parent in (target, *target.parents)
    }
    both = sorted(wanted.intersection(targets))
    if both:
        raise OutputError(f"{both[0]}: ids need a file and a folder of this name")
    # A dangling link blocks a folder too, and only `lexists` finds such a link.
    for parent in {folder, *wanted}:
        if os.path.lexists(parent) and not parent.is_dir():
            raise OutputError(f"{parent} is not a folder")


def _make_parent(target: Path) -> None:
    """Create the folder of the target; raises OSError if it became a link after the check."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if os.path.realpath(target.parent) != str(target.parent):
        raise NotADirectoryError(f"{target.parent} has become a link")


@contextmanager
def _mapped(pairs: Sequence[Pair]) -> Iterator[Callable[..., Iterator[Any]]]:
    """Yield `map`, or for media at URLs one that calls the function in several threads."""
    if not any(isinstance(source, Remote) for source, _ in pairs):
        yield map
        return
    pool = ThreadPoolExecutor(MAX_REMOTE_READS)
    try:
        yield pool.map
    finally:
        pool.shutdown(cancel_futures=True)


def _position(pair: Any) -> tuple[str, int]:
    """Return a sort key with which each tar and Parquet file is read forwards."""
    source = pair[0]
    if isinstance(source, TarMember):
        return source.tar, source.offset
    return (source.file, source.row) if isinstance(source, ParquetCell) else ("", 0)


def _checked(source: Found) -> Found:
    if isinstance(source, Path) and not source.is_file():
        return MediaNotFoundError(f"no such file: {source}")
    return source


def _warn(folder: Path, unlinked: int) -> None:
    if folder.is_dir() and any(folder.iterdir()):
        log.warning("%s is not empty: it will also hold its earlier files", folder)
    if unlinked:
        items = counted(unlinked, "item")
        log.warning("%s inside other files or at URLs: copied, not linked", items)


class _Putter:
    """A function that copies, links or moves a media with its sidecars, to a target.

    `left` lists the sidecars whose target is taken by another file.
    """

    def __init__(self, way: Way, companions: Companions | None) -> None:
        self.way, self._companions, self.left = way, companions, list[Path]()

    def __call__(self, pair: Pair) -> MediaError | OutputError | None:
        """Return the error instead of raising, for threads."""
        source, target = pair
        try:
            _make_parent(target)
            if isinstance(source, Path) and self._companions is not None:
                # Before the media, so that a move which is killed finds the media and goes on.
                for companion in self._companions.of(source, target):
                    self._put_sidecar(companion)
            self._put(source, target, self.way)
        except MediaError as error:
            return error
        except OSError as error:
            reason = error.strerror or error
            found = OutputError(f"cannot {self.way} {source} to {target}: {reason}")
            found.__cause__ = error
            return found
        return None

    def _put(self, source: Path | Stored, target: Path, way: Way) -> None:
        if not isinstance(source, Path) or way == "copy":
            _copy(source, target)
        elif way == "link":
            target.symlink_to(os.path.abspath(source))  # noqa: PTH100 - resolve() follows links
        elif not os.path.lexists(target):
            move_file(source, target)
        elif os.path.lexists(source):
            # A move that was killed may have left the source too, with the same content.
            if not is_same(source, target):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
            delete_moved(source, target)
        if way == "move" and isinstance(source, Path) and self._companions is not None:
            self._companions.forget(source)

    def _put_sidecar(self, companion: Companion) -> None:
        source, target, is_shared = companion
        if os.path.lexists(target) and not is_same(source, target):
            self.left.append(source)
        elif self.way == "move" and not is_shared:
            self._put(source, target, "move")
        elif not os.path.lexists(target):
            self._put(source, target, "link" if self.way == "link" else "copy")


def _copy(source: Path | Stored, target: Path) -> None:
    """Copy content, and a file's permissions; delete the target if the copy fails."""
    blocks = _blocks(source)
    # Media that cannot be read leave no empty file.
    first = next(blocks, b"")
    with target.open("xb") as ours:
        whole = False
        try:
            ours.write(first)
            ours.writelines(blocks)
            if isinstance(source, Path):
                shutil.copymode(source, target)
            whole = True
        finally:
            if not whole:
                target.unlink()


def _blocks(source: Path | Stored) -> Iterator[bytes]:
    """Yield the content; raises MediaError if it cannot be read."""
    if isinstance(source, Stored):
        yield source.read()
        return
    try:
        with source.open("rb") as file:
            while block := file.read(BLOCK_BYTES):
                yield block
    except OSError as error:
        raise MediaError(f"{source} cannot be read: {error.strerror or error}") from error


def _more(names: Sequence[Any]) -> str:
    return f", and {len(names) - 1} more" if len(names) > 1 else ""
