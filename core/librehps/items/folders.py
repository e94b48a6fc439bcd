"""A search of folders that no link, no loop and no unreadable folder can stop."""

import os
from collections.abc import Iterator
from pathlib import Path

from librehps.files import printable
from librehps.items.passed_over import PassedOver
from librehps.media.media import kind_by_name


def walk(folder: Path, passed_over: PassedOver) -> Iterator[tuple[Path, list[str]]]:
    """Yield each folder, sorted by name, with the sorted names of its files.

    Hidden folders are not searched, links to folders not followed; both are added to `passed_over`,
    as are folders that cannot be read. A link with the name of an image or a video is a file: its
    row says that it leads to a folder.
    """

    def fail(error: OSError) -> None:
        # No permission, or removed since its name was read.
        reason = error.strerror or str(error)
        passed_over.unreadable_folders[printable(error.filename)] = reason

    for parent, folders, names in os.walk(folder, onerror=fail):
        hidden = {name for name in folders if name.startswith(".")}
        # Path.is_symlink would raise in a folder that may not be searched.
        links = {name for name in folders if os.path.islink(f"{parent}/{name}")} - hidden  # noqa: PTH114
        named = {name for name in links if kind_by_name(name)}
        passed_over.hidden_folders += len(hidden)
        passed_over.linked_folders += [
            printable(Path(parent, name)) for name in sorted(links - named)
        ]
        folders[:] = sorted({*folders} - hidden - links)
        yield Path(parent), sorted({*names} | named)
