"""File names that keep a prompt readable."""

import re
from collections import Counter
from collections.abc import Sequence

# A name of 255 bytes is the most that common file systems hold; a number and a suffix follow.
LONGEST = 180


def readable_names(
    labels: Sequence[str], suffixes: Sequence[str], ranks: Sequence[int]
) -> list[str]:
    """One name an item: its label, its rank where ranks differ, its suffix; no two are alike.

    Also on file systems that hold `A` and `a` for one name.
    """
    is_ranked = len(set(ranks)) > 1
    stems = [
        f"{slug(label)}-{rank}" if is_ranked else slug(label)
        for label, rank in zip(labels, ranks, strict=True)
    ]
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
    """Words of any script joined by dashes, LONGEST bytes at most; `untitled` without words."""
    joined = "-".join(re.findall(r"\w+", text))
    return joined.encode()[:LONGEST].decode(errors="ignore").strip("-_") or "untitled"
