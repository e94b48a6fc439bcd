"""Anchors of a page of explanations: another page links to one item by `why.html#item-..`."""

import re
from pathlib import Path
from urllib.parse import quote

PREFIX = "item-"
# The page writes its anchors in this form alone, and escapes all text of users.
_ANCHOR = re.compile(rb'<article id="(item-[^"]*)"')
READ_BYTES = 1 << 20
# Longer than any anchor, so that one at the end of a block is found with the next block.
OVERLAP_BYTES = 1 << 14


def anchor_of(name: str) -> str:
    """Return the anchor of an item, by its id: `item-` and the id, percent-encoded.

    The id of an explained file is its path as given, which is the `media` of its scored row.
    """
    return PREFIX + quote(name, safe="", errors="surrogateescape")


def anchors_in(page: str | Path) -> frozenset[str]:
    """Return the anchors of a page of explanations; empty for another page. Raises OSError."""
    found: set[str] = set()
    rest = b""
    with Path(page).open("rb") as file:
        while block := file.read(READ_BYTES):
            text = rest + block
            found.update(match.decode("ascii") for match in _ANCHOR.findall(text))
            rest = text[-OVERLAP_BYTES:]
    return frozenset(found)
