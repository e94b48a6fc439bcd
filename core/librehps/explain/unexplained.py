"""An item that cannot be explained, and its error."""

from dataclasses import dataclass
from typing import Any

from librehps.errors import ItemError
from librehps.files import printable
from librehps.types import Item, media_text


@dataclass(frozen=True)
class Unexplained:
    """An item that cannot be scored, and its error."""

    item: Item
    error: ItemError

    @property
    def media(self) -> str | None:
        """The path or URL of the media."""
        return media_text(self.item.media)

    def record(self) -> dict[str, Any]:
        """Return the error as a dict, with the names that an error row has."""
        error = self.error
        return {
            "id": printable(self.item.id),
            "media": self.media,
            "status": "error",
            "error_type": type(error).__name__,
            "error": printable(str(error)),
        }
