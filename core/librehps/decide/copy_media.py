"""Copy or link chosen media into a folder, each file named by its id."""

import logging
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePath
from typing import Any

from librehps.errors import MediaError, MediaNotFoundError, OutputError, UsageError
from librehps.media.archived import ParquetCell, Remote, TarMember, is_remote
from librehps.media.named import NOT_ALLOWED, CellOptions, Found, media_named
from librehps.scores.score_table import Scores, ScoreTable, as_score_table
from librehps.scores.select import media_paths, text_column
from librehps.storage.places import shown
from librehps.types import Stored

log = logging.getLogger("librehps")

ROOT_HINT = "Name the folder or URL in which the media lie: --root FOLDER."
BLOCK_BYTES = 1 << 20
# Media at URLs that are read at the same time.
MAX_REMOTE_READS = 16
Pair = tuple[Path | Stored, Path]


@dataclass(frozen=True)
class Copied:
    """The result of a copy: the number of files written, and by id why others were not."""

    files: int
    failed: Mapping[str, str] = field(default_factory=dict)


def copy_media(
    scores: Scores,
    folder: str | Path,
    *,
    link: bool = False,
    root: str | Path | None = None,
    allow_remote: bool = False,
) -> Copied:
    """Copy the media of each row to `folder`/id, or with `link` create symbolic links.

    `root` is the folder or URL in which the media lie now (default: where the scored file says).
    URLs that the rows name are read with `allow_remote` only. Raises UsageError for a row without a
    path or an id, and the errors of `place`.
    """
    given = as_score_table(scores)
    ids = text_column(given.source, "id")
    if ids.null_count:
        raise UsageError("cannot copy media: a row has no id to name the file")
    return place(media_of(given, root, allow_remote), ids.to_pylist(), Path(folder), link)


def media_of(
    scores: ScoreTable, root: str | Path | None = None, allow_remote: bool = False
) -> list[Found]:
    """Return the media of each row, or the error that says why they cannot be read.

    Raises UsageError for a row without a path.
    """
    texts: list[str] = media_paths(scores.source).to_pylist()
    return [one for one in media_named_in(scores, texts, root, allow_remote) if one is not None]


def media_named_in(
    scores: ScoreTable,
    texts: Sequence[str | None],
    root: str | Path | None = None,
    allow_remote: bool = False,
) -> list[Found | None]:
    """Return the media of each text of the column media, None for none."""
    folder = scores.folder.under(root)
    places = {text: folder.whole(text) for text in texts if text is not None}
    named = media_named(places.values(), CellOptions(*folder.cells()))
    if not allow_remote:
        # Below a URL that the user gave, reading is what the user asked for.
        given = str(root) if root is not None and is_remote(str(root)) else None
        named |= {place: _refused(place) for place in named
                  if is_remote(place) and not (given and place.startswith(given))}  # fmt: skip
    return [None if text is None else named[places[text]] for text in texts]


def _refused(place: str) -> MediaError:
    return MediaError(f"{shown(place)}: {NOT_ALLOWED}")


def suffix_of(media: Found) -> str:
    """Return the suffix of a media's file name, such as `.png`."""
    return PurePath(media.name).suffix if isinstance(media, Path | Stored) else ""


def place(
    media: Sequence[str | Found], ids: Sequence[str], folder: Path, link: bool = False
) -> Copied:
    """Copy each media to `folder`/id, or with `link` create symbolic links.

    Media inside tars and Parquet files and media at URLs are copied, also with `link`. Media that
    cannot be read are named in the result and in a warning; the others are copied. All targets are
    checked before the first copy; folders are created. Raises UsageError if a target exists,
    MediaError if no media can be read, and OutputError for an id that is duplicate or leads out of
    the folder, and for a failed write.
    """
    targets = _targets(ids, folder)
    sources = [_checked(Path(one) if isinstance(one, str) else one) for one in media]
    pairs = list(zip(sources, targets, strict=True))
    whole = sorted(
        ((source, target) for source, target in pairs if not isinstance(source, MediaError)),
        key=_position,
    )
    problems = {target: source for source, target in pairs if isinstance(source, MediaError)}
    if whole:
        _check_room([target for _, target in whole], folder)
        _warn(folder, sum(link and isinstance(source, Stored) for source, _ in whole))
    done = 0
    with _mapped(whole) as run:
        for (_, target), problem in zip(whole, run(partial(_put, link), whole), strict=True):
            if problem is None:
                done += 1
            elif isinstance(problem, MediaError):
                problems[target] = problem
            else:
                hint = f"{done} of {len(pairs)} files are done. Remove them before a retry."
                raise OutputError(str(problem), hint=hint) from problem.__cause__
    return _result(
        done, {i: problems[t] for t, i in zip(targets, ids, strict=True) if t in problems}
    )


def _result(done: int, failed: dict[str, MediaError]) -> Copied:
    if failed:
        first = next(iter(failed.values()))
        told = f"{first}{_more([*failed])}"
        if not done:
            raise type(first)(told, hint=ROOT_HINT)
        log.warning("%d of %d files are not copied: %s", len(failed), done + len(failed), told)
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
                    f"id {name!r} leads out of {folder}: a folder in its path links to {parent}"
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
        log.warning("%d media are inside other files or at URLs: copied, not linked", unlinked)


def _put(link: bool, pair: Pair) -> MediaError | OutputError | None:
    """Copy or link a media; return the error instead of raising, for threads."""
    source, target = pair
    try:
        _make_parent(target)
        if isinstance(source, Path) and link:
            target.symlink_to(os.path.abspath(source))  # noqa: PTH100 - resolve() follows links
        else:
            _copy(source, target)
    except MediaError as error:
        return error
    except OSError as error:
        verb = "link" if link else "copy"
        found = OutputError(f"cannot {verb} {source} to {target}: {error.strerror or error}")
        found.__cause__ = error
        return found
    return None


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
