"""The source of a retry, whose items must be those of the output."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import zip_longest
from typing import Any

from librehps.runs.item_json import Listed
from librehps.runs.refusals import changed_source
from librehps.storage.url_path import AnyPath
from librehps.types import Item


class ComparedSource:
    """A source whose items are compared with the ids of an output while they are listed."""

    def __init__(self, listed: Listed, ids: Iterable[str], output: AnyPath) -> None:
        self._listed, self._ids, self._output = listed, ids, output

    def items(self) -> Iterator[Item]:
        """Yield the items; raises UsageError for an item without its row, or the reverse."""
        pairs: Iterable[tuple[Item | None, str | None]]
        pairs = zip_longest(self._listed.items(), self._ids)
        for item, found in pairs:
            if item is None or item.id != found:
                raise changed_source(self._output, found, None if item is None else item.id)
            yield item

    def facts(self) -> Mapping[str, Any]:
        return self._listed.facts()
