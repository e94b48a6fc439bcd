"""The failed rows of an output whose errors last, so that an update need not read their media."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from librehps import errors
from librehps.errors import ItemError
from librehps.runs.media_stamps import OF_ERROR, is_lasting
from librehps.scores.file_table import batches_of
from librehps.types import Item, ScoredRow

COLUMNS = ("id", "kind", "prompt", *OF_ERROR)


class KeptErrors:
    """The rows of a table with errors that last, by id; empty if the table lacks columns."""

    def __init__(self, table: Any) -> None:
        self._rows: dict[str, Sequence[Any]] = {}
        if all(name in table.column_names for name in COLUMNS):
            for batch in batches_of(table, COLUMNS):
                found = batch.filter(is_lasting(batch))
                columns = [found[name].to_pylist() for name in COLUMNS]
                self._rows |= zip(columns[0], zip(*columns[1:], strict=True), strict=True)

    def row(self, item: Item) -> ScoredRow | None:
        """Return the failed row of an item; None if its row had no such error or another prompt."""
        found = self._rows.get(item.id)
        if found is None or found[1] != item.prompt:
            return None
        kind, _, _, error_type, message = found
        error: type[ItemError] = getattr(errors, error_type)
        return ScoredRow(replace(item, kind=kind), kind, None, error=error(message or ""))
