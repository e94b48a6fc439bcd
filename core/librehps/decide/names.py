"""Distinct file names below one folder: made from prompts, or from ids."""

import os
import re
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import PurePath

from librehps.paths import is_simple

# File systems allow 255 bytes, and a number and a suffix follow.
MAX_SLUG_BYTES = 180
MAX_NAME_BYTES = 255
# Of a name that is cut, so that `.json` of a sidecar can follow.
CUT_NAME_BYTES = 250
MAX_CHAR_BYTES = 4
MAX_SUFFIX_CHARS = 16


def readable_names(
    labels: Sequence[str], suffixes: Sequence[str], ranks: Sequence[int]
) -> list[str]:
    """Return a unique file name for each item: label, rank if ranks differ, and suffix.

    Names are unique on file systems that ignore case too.
    """
    is_ranked = len(set(ranks)) > 1
    stems = [
        f"{slug(label)}-{rank}" if is_ranked else slug(label)
        for label, rank in zip(labels, ranks, strict=True)
    ]
    return distinct_names(stems, suffixes)


def names_inside(ids: Sequence[str]) -> list[str]:
    """Return a distinct file name for each id, a path that never leads out of a folder.

    An id that is such a path stays as it is. Of absolute ids, and of ids such as `../x/a.png`, the
    part below the folder that they share is left. A number follows where the name is taken.
    """
    paths, kept = list(ids), dict[str, int]()
    for at, name in enumerate(ids):
        if (path := _path_inside(name)) is not None:
            paths[at] = path
            kept.setdefault(path, at)
    others = sorted({*range(len(ids))}.difference(kept.values()))
    for at, path in zip(others, _shortened([ids[at] for at in others]), strict=True):
        paths[at] = path
    folders = set[str]()
    for path in paths:
        while (path := path.rpartition("/")[0]) and path not in folders:
            folders.add(path)
    # A file cannot have the name of a folder of other files.
    others += [kept[path] for path in folders.intersection(kept)]
    taken = set(map(str.casefold, folders.union(kept))) if others else ()
    stems, suffixes = (
        zip(*(_split(paths[at]) for at in others), strict=True) if others else ((), ())
    )
    names = list(ids)
    for at, name in zip(others, distinct_names(stems, suffixes, taken), strict=True):
        names[at] = name
    return names


def _path_inside(name: str) -> str | None:
    """Return the path in normal form, None for one that is too long or not below a folder."""
    if "\0" in name or any(len(part.encode()) > MAX_NAME_BYTES for part in _long_parts(name)):
        return None
    if is_simple(name):
        return name
    path = PurePath(name)
    return path.as_posix() if path.name and not path.anchor and ".." not in path.parts else None


def _long_parts(name: str) -> list[str]:
    """Return the names in a path, none if all of it is short."""
    return name.split("/") if len(name) * MAX_CHAR_BYTES > MAX_NAME_BYTES else []


def _shortened(ids: Sequence[str]) -> list[str]:
    """Return a path inside a folder for each id."""
    found = list[tuple[str, ...]]()
    outside: dict[str, list[int]] = {}
    for at, name in enumerate(ids):
        path = PurePath(os.path.normpath(name.replace("\0", "_")))
        parts = [part for part in path.parts if part not in (path.anchor, "..")]
        folders = [_fitting(part, "") for part in parts[:-1]]
        found.append((*folders, parts[-1] if parts else "untitled"))
        if path.anchor or path.parts[:1] == ("..",):
            outside.setdefault(path.anchor, []).append(at)
    for group in outside.values():
        # Of parts, not of characters.
        shared = len(os.path.commonprefix([found[at][:-1] for at in group]))  # noqa: RUF071
        for at in group:
            found[at] = found[at][shared:]
    return ["/".join(parts) for parts in found]


def _split(path: str) -> tuple[str, str]:
    """Return the path without its suffix, and the suffix; a long end of a sentence is none."""
    suffix = PurePath(path).suffix
    if len(suffix) > MAX_SUFFIX_CHARS:
        return path, ""
    return path[: len(path) - len(suffix)], suffix


def distinct_names(
    stems: Sequence[str], suffixes: Sequence[str], others: Collection[str] = ()
) -> list[str]:
    """Return stem and suffix of each item, with a number where an earlier name is the same.

    So is a name among `others`, which are casefolded.
    """
    names, taken, counts = [], set(others), Counter[str]()
    for stem, suffix in zip(stems, suffixes, strict=True):
        name = _fitting(stem, suffix)
        # Stems that are cut to one name share its numbers.
        key = name[: len(name) - len(suffix)].casefold()
        while name.casefold() in taken:
            counts[key] += 1
            name = _fitting(stem, f"-{counts[key] + 1}{suffix}")
        taken.add(name.casefold())
        names.append(name)
    return names


def _fitting(stem: str, end: str) -> str:
    """Return the path of stem and end, cut before the end to the length of a file's name."""
    above, name = os.path.split(stem)
    if len(f"{name}{end}".encode()) > MAX_NAME_BYTES:
        room = max(CUT_NAME_BYTES - len(end.encode()), 1)
        name = name.encode()[:room].decode(errors="ignore")
    return f"{above}/{name}{end}" if above else f"{name}{end}"


def slug(text: str) -> str:
    """Return the words of `text` joined by dashes, MAX_SLUG_BYTES at most, or `untitled`."""
    joined = "-".join(re.findall(r"\w+", text))
    return joined.encode()[:MAX_SLUG_BYTES].decode(errors="ignore").strip("-_") or "untitled"
