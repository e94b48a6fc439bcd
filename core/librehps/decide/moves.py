"""Files moved without ever being overwritten or lost, and the record from which a move goes on."""

import errno
import json
import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from librehps.errors import UsageError
from librehps.files import is_equal, is_named, sync, thread_partial, writing
from librehps.media.named import Found
from librehps.types import Stored

# In the folder that files are moved to; a name with `_` is not read as a manifest.
RECORD = "_moved.jsonl"


class MoveRecord:
    """The file `_moved.jsonl` in a folder: a line `{"from": .., "to": ..}` for each file.

    The lines are written before the first file is moved, so that a move that was killed can go on.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self.file = folder, folder / RECORD
        self._sources: dict[str, str] = {}
        self._is_cut = False
        if self.file.is_file():
            content = self.file.read_bytes()
            self._is_cut = bool(content) and not content.endswith(b"\n")
            for line in content.splitlines():
                try:
                    known = json.loads(line)
                    self._sources[known["to"]] = known["from"]
                except (ValueError, KeyError, TypeError):
                    # A line that was cut short by a kill: its file was not moved.
                    continue

    def resumes(self, source: Path, target: Path) -> bool:
        """Return whether an earlier move has brought this file, or a copy of it, to its target."""
        start = self._sources.get(self._name(target))
        # Of a file that is gone, only the text is known.
        known = start is not None and is_named(start, os.path.abspath(source))  # noqa: PTH100
        return known and os.path.lexists(target) and (not os.path.lexists(source)
                                                      or is_same(source, target))  # fmt: skip

    def plan(self, pairs: Iterable[tuple[Path, Path]]) -> None:
        """Add (source, target) pairs that the record lacks, and flush them to the disk.

        Raises OutputError if the record cannot be written.
        """
        lines = ["\n"] if self._is_cut else []
        for source, target in pairs:
            start, name = os.path.abspath(source), self._name(target)  # noqa: PTH100
            if self._sources.get(name) != start:
                lines.append(json.dumps({"from": start, "to": name}) + "\n")
        with writing(self.file, "Nothing has been moved."):
            self._folder.mkdir(parents=True, exist_ok=True)
            with self.file.open("a", encoding="utf-8") as file:
                file.writelines(lines)
            sync(self.file)

    def _name(self, target: Path) -> str:
        return target.relative_to(self._folder).as_posix()


def check_movable(sources: Sequence[Found]) -> None:
    """Raise UsageError for media that are not files, and for a file that several rows name.

    A link to a file that is moved too is also refused: the link would lead nowhere.
    """
    inside = [source for source in sources if isinstance(source, Stored)]
    if inside:
        raise UsageError(
            f"{len(inside)} of {len(sources)} media cannot be moved: {inside[0]} is inside another "
            "file or at a URL",
            hint="Copy them instead: --copy-to FOLDER.",
        )
    seen, links, real = set[str](), list[Path](), dict[Path, str]()
    for source in sources:
        if not isinstance(source, Path):
            continue
        if source.parent not in real:
            real[source.parent] = os.path.realpath(source.parent)
        # The folder's real path: one file may be named through links to folders.
        whole = os.path.join(real[source.parent], source.name)  # noqa: PTH118
        if whole in seen:
            raise UsageError(
                f"{source} is the media of several rows: one file cannot be moved to two places",
                hint="Copy them instead: --copy-to FOLDER.",
            )
        seen.add(whole)
        if source.is_symlink():
            links.append(source)
    for link in links:
        if (file := os.path.realpath(link)) in seen:
            raise UsageError(
                f"{link} is a link to {file}, which is moved too: the link would lead nowhere",
                hint="Copy them instead: --copy-to FOLDER.",
            )


def is_same(source: Path, target: Path) -> bool:
    """Return whether the target holds the source's content itself, not a link to the source."""
    return target.is_symlink() == source.is_symlink() and is_equal(source, target)


def is_one_entry(source: Path, target: Path) -> bool:
    """Return whether two paths name one entry of one folder, as through a link to the folder.

    Names that differ in case only count as equal, which they are on some file systems.
    """
    is_one_name = source.name.casefold() == target.name.casefold()
    return is_one_name and source.parent.samefile(target.parent)


def delete_moved(source: Path, target: Path) -> None:
    """Delete a source whose content is at the target, unless the source is the target itself."""
    if not is_one_entry(source, target):
        source.unlink(missing_ok=True)


def move_file(source: Path, target: Path) -> None:
    """Move a file: renamed, or from another disk copied, flushed, compared and then deleted.

    At every moment the content is whole at the source, the target or both. Raises FileExistsError
    for a target that exists, and other OSErrors.
    """
    if source.is_symlink():
        # Absolute, since a relative link would lead elsewhere from the new folder.
        target.symlink_to(os.path.realpath(source))
        source.unlink()
        return
    try:
        # Unlike a rename, a link never replaces a file.
        target.hardlink_to(source)
    except (FileExistsError, FileNotFoundError):
        raise
    except OSError as error:
        if error.errno != errno.EXDEV:
            _rename(source, target)
            return
        _copy_over(source, target)
    # Another process that moves the same file may have deleted the source.
    source.unlink(missing_ok=True)


def _rename(source: Path, target: Path) -> None:
    """Rename a file on a file system that has no hard links, or denies them."""
    if os.path.lexists(target):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
    try:
        source.rename(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        _copy_over(source, target)
        source.unlink()


def _copy_over(source: Path, target: Path) -> None:
    partial = thread_partial(target.parent)
    try:
        shutil.copy2(source, partial)
        sync(partial)
        if not is_equal(source, partial):
            raise OSError(errno.EIO, "the copy differs from the file", str(source))
        move_file(partial, target)
        sync(target.parent)
    finally:
        partial.unlink(missing_ok=True)
