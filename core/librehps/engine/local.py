"""The stages on one machine, one window of items after another."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import torch

from librehps.errors import ItemError
from librehps.model.backbone import RewardModel
from librehps.pipeline.decode import Decoded, Decoder
from librehps.pipeline.forward import forward
from librehps.pipeline.plan import plan
from librehps.pipeline.row import error_row, ok_row, to_score
from librehps.types import Item, ScoredRow

# Batches a window is cut into: enough for neighbours of like length, few enough to answer soon.
WINDOW = 4


@dataclass(frozen=True)
class LocalEngine:
    """Scores items in order; one that cannot be scored costs its own row only."""

    model: RewardModel
    decoder: Decoder
    device: torch.device
    batch_size: int

    def run(self, items: Iterable[Item]) -> Iterator[ScoredRow]:
        """A row for each item, in the order of the items."""
        source = iter(items)
        while window := list(islice(source, self.batch_size * WINDOW)):
            yield from self._score(window)

    def _score(self, window: list[Item]) -> list[ScoredRow]:
        rows: dict[int, ScoredRow] = {}
        decoded: dict[int, Decoded] = {}
        for at, item in enumerate(window):
            try:
                decoded[at] = self.decoder.decode(item)
            except ItemError as error:
                rows[at] = error_row(item, error)
        places = list(decoded)
        lengths = [len(decoded[at].prepared.stream.ids) for at in places]
        for batch in plan(lengths, self.batch_size):
            chosen = [places[index] for index in batch]
            output = forward(self.model, [decoded[at].prepared for at in chosen], self.device)
            for index, at in enumerate(chosen):
                try:
                    score = to_score(output, index, decoded[at])
                    rows[at] = ok_row(window[at], score, decoded[at])
                except ItemError as error:
                    rows[at] = error_row(window[at], error)
        return [rows[at] for at in range(len(window))]
