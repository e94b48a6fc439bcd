"""Items as lines of JSON: a resumed run reads the items that were listed when the run started."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from librehps import errors
from librehps.errors import ItemError
from librehps.media.archived import stored_from
from librehps.types import Item, Stored

Entry = dict[str, Any]


class Listed(Protocol):
    """A source of items; `facts` are JSON values, complete after `items` has been read once."""

    def items(self) -> Iterable[Item]: ...

    def facts(self) -> Mapping[str, Any]: ...


def to_entry(item: Item) -> Entry:
    """Return the fields of an item as JSON values; empty fields are left out."""
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
    """Return the item that `to_entry` turned into this entry."""
    fields = dict(entry)
    media = fields.pop("media")
    fields["media"] = stored_from(media) if isinstance(media, dict) else Path(media)
    if "problem" in fields:
        name, message = fields["problem"]
        kind: type[ItemError] = getattr(errors, name)
        fields["problem"] = kind(message)
    return Item(**{"prompt": None, **fields})
