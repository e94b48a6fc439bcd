"""The fields of items as JSON values, for the listing of a run."""

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from librehps import errors
from librehps.errors import ItemError
from librehps.items.item_columns import ItemColumns
from librehps.media.archived import stored_from
from librehps.types import Item, Stored

Entry = dict[str, Any]


class Listed(Protocol):
    """A source of items; `facts` are JSON values, complete once its items have been read."""

    def item_columns(self) -> Iterator[ItemColumns]: ...

    def facts(self) -> Mapping[str, Any]: ...


def media_record(media: Any) -> str | Entry:
    """Return the path of media as text, stored media as JSON values."""
    return media.record() if isinstance(media, Stored) else str(media)


def problem_record(problem: ItemError) -> list[str]:
    """Return the class name and the message of an item's error."""
    return [type(problem).__name__, str(problem)]


def from_fields(fields: Entry) -> Item:
    """Return the item of its fields, with stored media and the problem as their records."""
    media, problem = fields["media"], fields.get("problem")
    if isinstance(media, dict):
        media = stored_from(media)
    if isinstance(problem, list):
        kind: type[ItemError] = getattr(errors, problem[0])
        problem = kind(problem[1])
    return Item(**{**fields, "media": media, "problem": problem})
