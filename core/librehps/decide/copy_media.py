"""Copy or link chosen media into a folder, each file named by its id."""

import logging
import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePath

from librehps.errors import MediaNotFoundError, OutputError, UsageError
from librehps.scores.score_table import Scores, as_score_table
from librehps.scores.select import media_paths, text_column

log = logging.getLogger("librehps")


def copy_media(scores: Scores, folder: str | Path, *, link: bool = False) -> None:
    """Copy the media of each row to `folder`/id, or with `link` create symbolic links.

    Raises UsageError for a row without a path or an id, and the errors of `place`.
    """
    table = as_score_table(scores).table
    ids = text_column(table, "id")
    if ids.null_count:
        raise UsageError("cannot copy media: a row has no id to name the file")
    place(media_paths(table).to_pylist(), ids.to_pylist(), Path(folder), link)


def place(media: Sequence[str], ids: Sequence[str], folder: Path, link: bool = False) -> None:
    """Copy each media file to `folder`/id, or with `link` create symbolic links.

    All files are checked before the first is copied; folders are created. Raises UsageError if a
    target exists, MediaNotFoundError for a missing file, and OutputError for an id that is
    duplicate or leads out of the folder, and for a failed write.
    """
    pairs = list(zip(map(Path, media), _targets(ids, folder), strict=True))
    _check_sources(source for source, _ in pairs)
    _check_room([target for _, target in pairs], folder)
    if folder.is_dir() and any(folder.iterdir()):
        log.warning("%s is not empty: it will also hold its earlier files", folder)
    put = _link if link else _copy
    for done, (source, target) in enumerate(pairs):
        try:
            _make_parent(target)
            put(source, target)
        except OSError as error:
            raise OutputError(
                f"cannot {'link' if link else 'copy'} {source} to {target}: "
                f"{error.strerror or error}",
                hint=f"{done} of {len(pairs)} files are done. Remove them before a retry.",
            ) from error


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


def _check_sources(sources: Iterable[Path]) -> None:
    missing = [source for source in sources if not source.is_file()]
    if missing:
        raise MediaNotFoundError(
            f"no such file: {missing[0]}{_more(missing)}",
            hint="Run the command in the folder in which the media were scored.",
        )


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


def _copy(source: Path, target: Path) -> None:
    """Copy content and permissions; delete the target if the copy fails."""
    with source.open("rb") as theirs, target.open("xb") as ours:
        whole = False
        try:
            shutil.copyfileobj(theirs, ours, 1 << 20)
            shutil.copymode(source, target)
            whole = True
        finally:
            if not whole:
                target.unlink()


def _link(source: Path, target: Path) -> None:
    target.symlink_to(os.path.abspath(source))  # noqa: PTH100 - resolve() would follow links


def _more(paths: Sequence[Path]) -> str:
    return f", and {len(paths) - 1} more" if len(paths) > 1 else ""
