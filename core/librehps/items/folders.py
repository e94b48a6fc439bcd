"""A search of folders that no link, no loop and no unreadable folder can stop."""

import os
from collections.abc import Iterator
from pathlib import Path

from librehps.files import printable
from librehps.items.passed_over import PassedOver
from librehps.media.media import kind_by_name


def walk(
    folder: Path, passed_over: PassedOver, pattern: tuple[str, ...] = ()
) -> Iterator[tuple[Path, list[str]]]:
    """Yield each folder, sorted by name, with the sorted names of its files.

    Folders deeper than a glob `pattern` reaches are not searched, and not passed over either.
    Hidden folders are not searched, links to folders not followed; both are added to `passed_over`,
    as are folders that cannot be read. A link with the name of an image or a video is a file: its
    row says that it leads to a folder.
    """

    def fail(error: OSError) -> None:
        # No permission, or removed since its name was read.
        reason = error.strerror or str(error)
        passed_over.unreadable_folders[printable(error.filename)] = reason

    for parent, folders, names in os.walk(folder, onerror=fail):
        depth = len(Path(parent).parts) - len(folder.parts) + 1
        is_last = bool(pattern) and "**" not in pattern and depth >= len(pattern)
        hidden = {name for name in folders if name.startswith(".")}
        # Path.is_symlink would raise in a folder that may not be searched.
        links = {name for name in folders if os.path.islink(f"{parent}/{name}")} - hidden  # noqa: PTH114
        named = {name for name in links if kind_by_name(name)}
        if not is_last:
            passed_over.hidden_folders += len(hidden)
            passed_over.linked_folders += [
                printable(Path(parent, name)) for name in sorted(links - named)
            ]
        folders[:] = [] if is_last else sorted({*folders} - hidden - links)
        yield Path(parent), sorted({*names} | named)
