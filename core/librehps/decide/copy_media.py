"""Chosen media copied or linked into a folder, each under its id."""

import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePath

from librehps.errors import MediaNotFoundError, OutputError, UsageError
from librehps.scores.score_table import Scores, as_score_table
from librehps.scores.select import media_paths, text_column

Pairs = list[tuple[Path, Path]]


def copy_media(scores: Scores, folder: str | Path, *, link: bool = False) -> None:
    """Copy, or link to, the media of each row as `folder`/id; raises as `place`.

    Raises UsageError for a row without a path or an id too.
    """
    table = as_score_table(scores).table
    ids = text_column(table, "id")
    if ids.null_count:
        raise UsageError("a row without an id cannot be placed by it")
    place(media_paths(table).to_pylist(), ids.to_pylist(), Path(folder), link)


def place(media: Sequence[str], ids: Sequence[str], folder: Path, link: bool = False) -> None:
    """Copy, or link to, each media file as `folder`/id; folders are made as needed.

    Everything is checked before the first is placed. Raises UsageError where a target exists,
    MediaNotFoundError for a missing file, OutputError for an id that names no place of its own
    inside the folder, and for a failing disk.
    """
    pairs = list(zip(map(Path, media), _targets(ids, folder), strict=True))
    _check_sources(source for source, _ in pairs)
    _check_room([target for _, target in pairs], folder)
    put = _link if link else _copy
    for done, (source, target) in enumerate(pairs):
        try:
            _make_parent(target)
            put(source, target)
        except OSError as error:
            raise OutputError(
                f"{source} cannot be placed as {target}: {error.strerror or error}",
                hint=f"{done} of {len(pairs)} were placed before it.",
            ) from error


def _targets(ids: Sequence[str], folder: Path) -> list[Path]:
    """Return the path of each id, free of links; raises OutputError for an id that leads out."""
    root = Path(os.path.realpath(folder))
    parents: dict[PurePath, Path] = {}
    taken: dict[Path, str] = {}
    for name in ids:
        path = PurePath(name)
        if not path.name or path.anchor or ".." in path.parts or "\0" in name:
            raise OutputError(f"the id {name!r} names no file inside {folder}")
        if path.parent not in parents:
            parent = Path(os.path.realpath(root / path.parent))
            if not parent.is_relative_to(root):
                raise OutputError(
                    f"the id {name!r} leads out of {folder}: a folder on its way links to {parent}"
                )
            parents[path.parent] = parent
        target = parents[path.parent] / path.name
        if target in taken:
            raise OutputError(f"two items would be placed as {target}: {taken[target]!r}, {name!r}")
        taken[target] = name
    return list(taken)


def _check_sources(sources: Iterable[Path]) -> None:
    missing = [source for source in sources if not source.is_file()]
    if missing:
        raise MediaNotFoundError(
            f"no such file: {missing[0]}{_more(missing)}",
            hint="Paths begin at the current directory: run this where the media were scored.",
        )


def _check_room(targets: list[Path], folder: Path) -> None:
    """Raise where a target exists, or where something else stands in the place of a folder."""
    existing = [target for target in targets if os.path.lexists(target)]
    if existing:
        raise UsageError(
            f"{existing[0]} exists{_more(existing)}", hint="Nothing is overwritten: empty it first."
        )
    wanted = {
        parent for target in {t.parent for t in targets} for parent in (target, *target.parents)
    }
    both = sorted(wanted.intersection(targets))
    if both:
        raise OutputError(f"{both[0]} would be both a file and a folder of others")
    # A link that leads nowhere stands in the way too, and only its own name shows it.
    for parent in {folder, *wanted}:
        if os.path.lexists(parent) and not parent.is_dir():
            raise OutputError(f"{parent} is not a folder")


def _make_parent(target: Path) -> None:
    """The folder of the target; raises OSError where a link took its place since the check."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if os.path.realpath(target.parent) != str(target.parent):
        raise NotADirectoryError(f"{target.parent} has become a link")


def _copy(source: Path, target: Path) -> None:
    """The content and the permissions; half a copy never stays."""
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
    target.symlink_to(os.path.abspath(source))  # noqa: PTH100 - a link is not its target


def _more(paths: Sequence[Path]) -> str:
    return f", and {len(paths) - 1} more" if len(paths) > 1 else ""
