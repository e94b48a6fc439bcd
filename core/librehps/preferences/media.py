"""The media of pairs, each with its prompt, once."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from librehps.preferences.pairs import Pair
from librehps.types import Item

# Media and prompt: what a score depends on, beside the model.
Key = tuple[str, str]


def key_of(media: Any, prompt: str) -> Key:
    """A path by its place, bytes by their sha256."""
    if isinstance(media, bytes):
        return hashlib.sha256(media).hexdigest(), prompt
    return str(Path(media).absolute()), prompt


def keys_of(pair: Pair) -> tuple[Key, Key]:
    """Keys of a and b."""
    return key_of(pair.media_a, pair.prompt), key_of(pair.media_b, pair.prompt)


def items_of(pairs: Sequence[Pair]) -> dict[Key, Item]:
    """Each (media, prompt) of the pairs, in order of first use."""
    items: dict[Key, Item] = {}
    for pair in pairs:
        for media, key in zip((pair.media_a, pair.media_b), keys_of(pair), strict=True):
            if key not in items:
                # One picture under two prompts is two items.
                items[key] = Item(f"{key[0]}#{len(items)}", media, pair.prompt)
    return items
