"""The distinct media of pairs, as items to score."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from librehps.media.archived import Remote
from librehps.preferences.pairs import Pair
from librehps.storage.places import is_remote, shown
from librehps.types import Item

# (media, prompt), which a score depends on.
Key = tuple[str, str]


def key_of(media: Any, prompt: str) -> Key:
    """Return the key of a media and the prompt.

    The key of a media is its absolute path, its whole URL, or the sha256 of its bytes. A URL is
    not cut: two that differ only in a token may be two pictures. Show `shown(key[0])`.
    """
    if isinstance(media, bytes):
        return hashlib.sha256(media).hexdigest(), prompt
    if isinstance(media, Remote):
        return media.url, prompt
    if is_remote(media):
        return str(media), prompt
    return str(Path(media).absolute()), prompt


def keys_of(pair: Pair) -> tuple[Key, Key]:
    """Return the keys of media a and b of a pair."""
    return key_of(pair.media_a, pair.prompt), key_of(pair.media_b, pair.prompt)


def items_of(pairs: Sequence[Pair]) -> dict[Key, Item]:
    """Return an item for each distinct (media, prompt) of the pairs, in order of first use."""
    items: dict[Key, Item] = {}
    for pair in pairs:
        for media, key in zip((pair.media_a, pair.media_b), keys_of(pair), strict=True):
            if key not in items:
                # An image with two prompts becomes two items, which need different ids.
                items[key] = Item(f"{shown(key[0])}#{len(items)}", media, pair.prompt)
    return items
