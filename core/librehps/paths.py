"""Paths as people write them: patterns, and media paths in tables, also those of Windows."""

import fnmatch
import os
import posixpath
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from librehps.files import BYTE, found_path, printable

# `C:\x`, `C:/x`, and `\\server\share`.
WINDOWS_ROOT = re.compile(r"[A-Za-z]:[\\/]|\\\\")

GLOB_CHARS = frozenset("*?[")


def is_glob(path: str | Path) -> bool:
    """Return whether a path is a pattern such as `shards/*.tar`, and not the name of a file."""
    return not GLOB_CHARS.isdisjoint(str(path)) and not os.path.lexists(path)


def local_name(root: str | Path, value: str) -> str:
    r"""Return a path below `root` with `/` for `\`, unless a file has the literal name."""
    if "\\" not in value or os.name == "nt" or os.path.lexists(Path(root, value)):
        return value
    return value.replace("\\", "/")


def local_path(root: str | Path, value: str) -> Path:
    """Return the path of the file that a table names; %XX stands for undecodable bytes."""
    path = Path(root, local_name(root, value))
    return Path(found_path(str(path)) or path) if BYTE.search(value) else path


def foreign_path(root: str | Path, value: str) -> str | None:
    """Return why a path of a Windows drive has no file on this system; None for other paths."""
    if os.name == "nt" or not WINDOWS_ROOT.match(value) or os.path.lexists(Path(root, value)):
        return None
    return (
        f"{value} is a path of a Windows drive or network share, which this system lacks "
        "(expected a path relative to the manifest, or to --root)"
    )


def is_simple(name: str) -> bool:
    """Return whether a path is relative, in normal form, and alike on every system.

    False for some such paths too, as those of hidden files: this is the quick check of each row.
    """
    return (
        "//" not in name
        and "/." not in name
        and "\\" not in name
        and "%" not in name
        and ":" not in name
        and name[:1] not in "./"
        and name[-1:] != "/"
    )


def are_simple(names: Sequence[Any]) -> bool:
    """Return whether all values are texts for which `is_simple` holds; false for some such too."""
    if set(map(type, names)) != {str}:
        return False
    if not {name[:1] for name in names}.isdisjoint(("", ".", "/")):
        return False
    text = "\n".join([*names, ""])
    return not any(one in text for one in ("//", "/.", "\\", "%", ":", "/\n"))


def start_below(folder: str, separator: str = "/") -> str:
    """Return the part before the name in the path of a file in the folder; empty for `.`."""
    return "" if folder == "." else f"{folder.rstrip(separator)}{separator}"


def path_id(name: str, prefix: str = "") -> str:
    """Return an id that is the same from every working folder: the path as given, normalised.

    `prefix` is the folder that a relative path lies in.
    """
    name = name.replace(os.sep, "/")
    if not (Path(name).is_absolute() or WINDOWS_ROOT.match(name)):
        name = posixpath.join(prefix, name)
    return printable(posixpath.normpath(name))


def glob_start(path: Path) -> Path:
    """Return the path itself, or for a glob the folder above its first wildcard."""
    if not is_glob(path):
        return path
    start = Path()
    for part in path.parts:
        # A folder may have brackets in its name.
        if not GLOB_CHARS.isdisjoint(part) and not os.path.lexists(start / part):
            break
        start /= part
    return start


def matches(parts: tuple[str, ...], pattern: tuple[str, ...]) -> bool:
    """Return whether the parts of a path match a glob pattern; `**` is any number of folders."""
    if not pattern:
        return True
    head, *rest = pattern
    if head == "**":
        return any(matches(parts[at:], tuple(rest)) for at in range(len(parts) + 1)) and bool(parts)
    if not parts or not fnmatch.fnmatchcase(parts[0], head):
        return False
    return matches(parts[1:], tuple(rest)) if rest else len(parts) == 1
