"""Readable file names made from prompts."""

import re
from collections import Counter
from collections.abc import Sequence

# File systems allow 255 bytes, and a number and a suffix follow.
MAX_SLUG_BYTES = 180


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


def distinct_names(stems: Sequence[str], suffixes: Sequence[str]) -> list[str]:
    """Return stem and suffix of each item, with a number where an earlier name is the same."""
    names, taken, counts = [], set(), Counter[str]()
    for stem, suffix in zip(stems, suffixes, strict=True):
        name = f"{stem}{suffix}"
        while name.casefold() in taken:
            counts[stem.casefold()] += 1
            name = f"{stem}-{counts[stem.casefold()] + 1}{suffix}"
        taken.add(name.casefold())
        names.append(name)
    return names


def slug(text: str) -> str:
    """Return the words of `text` joined by dashes, MAX_SLUG_BYTES at most, or `untitled`."""
    joined = "-".join(re.findall(r"\w+", text))
    return joined.encode()[:MAX_SLUG_BYTES].decode(errors="ignore").strip("-_") or "untitled"
