"""Items as lines of JSON, so that a resumed run has the source of its start."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from librehps import errors
from librehps.errors import ItemError
from librehps.media.archived import stored_from
from librehps.types import Item, Stored

Entry = dict[str, Any]


class Listed(Protocol):
    """A source: its items, once, and then its facts as JSON values."""

    def items(self) -> Iterable[Item]: ...

    def facts(self) -> Mapping[str, Any]: ...


def to_entry(item: Item) -> Entry:
    """Return the item's fields as JSON values, without the empty ones."""
    media = item.media.record() if isinstance(item.media, Stored) else str(item.media)
    entry = {
        "id": item.id,
        "media": media,
        "prompt": item.prompt,
        "kind": item.kind,
        "group": item.group,
        "extra": dict(item.extra),
        "problem": item.problem and [type(item.problem).__name__, str(item.problem)],
    }
    return {name: value for name, value in entry.items() if value not in (None, {})}


def item_from(entry: Entry) -> Item:
    """Return the item of an entry."""
    fields = dict(entry)
    media = fields.pop("media")
    fields["media"] = stored_from(media) if isinstance(media, dict) else Path(media)
    if "problem" in fields:
        name, message = fields["problem"]
        kind: type[ItemError] = getattr(errors, name)
        fields["problem"] = kind(message)
    return Item(**{"prompt": None, **fields})
