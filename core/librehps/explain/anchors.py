"""Anchors of a page of explanations: another page links to one item by `why.html#item-..`."""

from urllib.parse import quote

PREFIX = "item-"


def anchor_of(name: str) -> str:
    """Return the anchor of an item, by its id: `item-` and the id, percent-encoded.

    The id of an explained file is its path as given, which is the `media` of its scored row.
    """
    return PREFIX + quote(name, safe="", errors="surrogateescape")
