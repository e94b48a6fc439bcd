"""The outputs of a window's items as columns: raw scores, and the errors of items."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from librehps.errors import ItemError
from librehps.models.base import RawScore
from librehps.models.raw_scores import Floats, RawScores, as_table

# The places of items, and the outputs of the first of them.
Batch = tuple[Sequence[int], Sequence[RawScore | ItemError]]


class Outputs:
    """The raw scores and errors of `count` items, of which none is there yet.

    `numbers` are as of `RawScores`, `is_rated` tells which items have a scalar, and `errors` are
    those of items by index. `is_there` tells which items have an output.
    """

    def __init__(self, count: int, axes: int) -> None:
        self.axes = axes
        self.numbers = np.full((count, 2 * axes + 1), np.nan)
        self.is_rated, self.is_there = np.zeros(count, bool), np.zeros(count, bool)
        self.errors: dict[int, ItemError] = {}

    @classmethod
    def of(cls, outputs: Sequence[RawScore | ItemError], axes: int) -> "Outputs":
        """Return the outputs of items as columns."""
        found = cls(len(outputs), axes)
        found.put(range(len(outputs)), outputs)
        return found

    def __len__(self) -> int:
        return len(self.numbers)

    def put(self, places: Sequence[int], outputs: Sequence[RawScore | ItemError]) -> None:
        """Note the outputs of the items at the first of these places."""
        self.put_batches([(places, outputs)])

    def put_batches(self, batches: Iterable[Batch]) -> None:
        """Note the outputs of batches, each as in `put`."""
        tables, lengths, places = list[tuple[Floats, Any]](), list[int](), list[int]()
        for where, outputs in batches:
            at, scores = where[: len(outputs)], outputs
            if not isinstance(scores, RawScores):
                at, scores = self._scored(at, scores)
            tables.append(as_table(scores, self.axes))
            lengths.append(len(at))
            places.extend(at)
        if places:
            # All at once, which is much faster than batch by batch.
            index = np.array(places)
            self.numbers[index] = np.concatenate([numbers for numbers, _ in tables])
            rated = [np.broadcast_to(one, n) for (_, one), n in zip(tables, lengths, strict=True)]
            self.is_rated[index], self.is_there[index] = np.concatenate(rated), True

    def _scored(
        self, places: Sequence[int], outputs: Sequence[RawScore | ItemError]
    ) -> tuple[list[int], list[RawScore]]:
        """Note the errors of items; return the places and raw scores of the others."""
        pairs = list(zip(places, outputs, strict=True))
        self.put_errors({at: one for at, one in pairs if isinstance(one, ItemError)})
        scored = [(at, one) for at, one in pairs if not isinstance(one, ItemError)]
        return [at for at, _ in scored], [one for _, one in scored]

    def put_errors(self, errors: dict[int, ItemError]) -> None:
        """Note the errors of items by index."""
        if errors:
            self.errors.update(errors)
            self.is_there[list(errors)] = True

    def repeat(self, places: Iterable[tuple[int, int]], source: "Outputs") -> None:
        """Note for items at (place, place in `source`) the outputs that `source` has of others."""
        pairs = [(at, first) for at, first in places if source.is_there[first]]
        if not pairs:
            return
        to, of = map(list, zip(*pairs, strict=True))
        for name in ("numbers", "is_rated", "is_there"):
            getattr(self, name)[to] = getattr(source, name)[of]
        self.errors.update({at: source.errors[one] for at, one in pairs if one in source.errors})

    def first(self) -> tuple["Outputs", int]:
        """Return the outputs before the first item without one, and their number."""
        if self.is_there.all():
            return self, len(self)
        end = int(self.is_there.argmin())
        found = Outputs(end, self.axes)
        found.repeat(((at, at) for at in range(end)), self)
        return found, end

    def score(self, at: int) -> RawScore | None:
        """Return the raw score of an item; None for an error, and without an output."""
        if not self.is_there[at] or at in self.errors:
            return None
        return RawScores(self.numbers[at : at + 1], bool(self.is_rated[at]))[0]
