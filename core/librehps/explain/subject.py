"""The subject of an explanation: one decoded item, and the scores of its variants."""

import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from torch import Tensor

from librehps.engine.decode import Decoded
from librehps.engine.device import Launcher
from librehps.engine.engine import LocalEngine
from librehps.engine.outcome import is_finite
from librehps.engine.plan import ITEM_TOKENS
from librehps.errors import ItemError, NonFiniteScoreError
from librehps.models.base import Model, Prepared, Processor, RawScore
from librehps.types import Item, Kind

# Scores of one item in two batches differ by less, so that a smaller effect means nothing.
NOISE_MU = 0.01


@dataclass
class Subject:
    """A decoded item and the model that scores its variants; `forwards` counts the variants.

    pixels: (frames, 3, H, W) uint8, resized to the model's input. A batch has at most `batch_size`
    variants and `tokens`.
    """

    pixels: Tensor
    kind: Kind
    prompt: str
    decoded: Decoded
    model: Model
    processor: Processor
    batch_size: int
    tokens: int
    forwards: int = 0

    def with_prompts(self, prompts: Sequence[str]) -> list[RawScore]:
        """Return the score of the item under each prompt.

        The variants share their pixels, so that a model computes the vision tokens once a batch.
        """
        ids = [self.processor.encode(prompt) for prompt in prompts]
        items = (self._prepared(self.pixels, one) for one in ids)
        return self._scores(replace(item, shares_pixels=True) for item in items)

    def with_pixels(self, variants: Iterable[Tensor]) -> list[RawScore]:
        """Return the score of each variant of the pixels under the item's prompt."""
        ids = self.processor.encode(self.prompt)
        return self._scores(self._prepared(pixels, ids) for pixels in variants)

    def axis(self, name: str) -> int:
        """Return the index of an axis in a score."""
        return self.model.axes.index(name)

    def _prepared(self, pixels: Tensor, ids: list[int]) -> Prepared:
        return self.processor.prepare(pixels, self.kind, ids)

    def _scores(self, items: Iterable[Prepared]) -> list[RawScore]:
        """Return the score of each item; no more items are in memory than the lanes need."""
        found: list[RawScore] = []
        launcher = Launcher(self.model, self.batch_size, threading.Event())
        try:
            for batches in _groups(self._batches(items), launcher.lanes):
                for future in launcher.submit(batches):
                    found += map(_checked, future.result())
        finally:
            launcher.close()
        self.forwards += len(found)
        return found

    def _batches(self, items: Iterable[Prepared]) -> Iterator[list[Prepared]]:
        """Yield batches of the items, which are about equally long, in order."""
        rest = iter(items)
        for first in rest:
            size = max(1, min(self.batch_size, self.tokens // first.cost))
            yield [first, *islice(rest, size - 1)]


def _groups(batches: Iterable[list[Prepared]], size: int) -> Iterator[list[list[Prepared]]]:
    rest = iter(batches)
    while group := list(islice(rest, size)):
        yield group


def _checked(row: RawScore | ItemError) -> RawScore:
    if isinstance(row, ItemError):
        raise row
    if not is_finite(row):
        raise NonFiniteScoreError(
            "the model returned NaN or infinity for a variant", hint="Try --dtype float32."
        )
    return row


def subject_of(item: Item, engine: LocalEngine) -> Subject:
    """Return the decoded subject of an item with a prompt; raises ItemError."""
    ready = engine.prepare(item)
    if ready.error is not None:
        raise ready.error
    decoded, prompt = ready.decoded, ready.item.prompt
    assert decoded is not None and prompt is not None  # noqa: S101 - else there is an error
    # The pixels have their size: a budget would resize them again.
    processor = engine.decoder.processor.with_budget(0)
    pixels = decoded.prepared.pixels
    tokens = engine.batch_size * ITEM_TOKENS if engine.tokens is None else engine.tokens
    return Subject(
        pixels,
        decoded.kind,
        prompt,
        decoded,
        engine.model,
        processor,
        engine.batch_size,
        tokens,
    )
