"""The source of a retry, whose items must be those of the output."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice, zip_longest
from typing import Any

from librehps.items.item_columns import ItemColumns
from librehps.runs.item_json import Listed
from librehps.runs.refusals import changed_source
from librehps.storage.url_path import AnyPath


class ComparedSource:
    """A source whose items are compared with the ids of an output while they are listed.

    `ids` are Arrow arrays with the ids of some rows each, in order.
    """

    def __init__(self, listed: Listed, ids: Iterable[Any], output: AnyPath) -> None:
        self._listed, self._ids, self._output = listed, ids, output

    def item_columns(self) -> Iterator[ItemColumns]:
        """Yield the items; raises UsageError for an item without its row, or the reverse."""
        rows = chain.from_iterable(ids.to_pylist() for ids in self._ids)
        for items in self._listed.item_columns():
            self._compare(list(islice(rows, len(items))), list(items.ids))
            yield items
        self._compare(list(islice(rows, 1)), [])

    def _compare(self, found: list[str], expected: list[str]) -> None:
        if found != expected:
            pairs = zip_longest(found, expected)
            raise changed_source(self._output, *next(one for one in pairs if one[0] != one[1]))

    def facts(self) -> Mapping[str, Any]:
        return self._listed.facts()
