"""The outputs of a window's items as columns: raw scores, and the errors of items."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from librehps.errors import ItemError
from librehps.models.base import RawScore
from librehps.models.raw_scores import RawScores, as_table


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
        scores: Any = outputs
        places = places[: len(outputs)]
        if not isinstance(outputs, RawScores):
            pairs = list(zip(places, outputs, strict=True))
            failed = {at: one for at, one in pairs if isinstance(one, ItemError)}
            self.put_errors(failed)
            places = [at for at, _ in pairs if at not in failed]
            scores = [one for one in outputs if not isinstance(one, ItemError)]
        if places:
            numbers, is_rated = as_table(scores)
            at = np.array(places)
            self.numbers[at], self.is_rated[at], self.is_there[at] = numbers, is_rated, True

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
