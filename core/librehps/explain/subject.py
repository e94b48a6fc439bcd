"""The subject of an explanation: one decoded item, and the scores of its variants."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from librehps.engine.decode import Decoded
from librehps.engine.device import Launcher
from librehps.engine.engine import LocalEngine
from librehps.engine.outcome import is_finite
from librehps.errors import ItemError, NonFiniteScoreError
from librehps.models.base import Model, Prepared, Processor, RawScore
from librehps.types import Item, Kind


@dataclass
class Subject:
    """A decoded item and the model that scores its variants; `forwards` counts the variants.

    pixels: (frames, 3, H, W) uint8, resized to the model's input.
    """

    pixels: Tensor
    kind: Kind
    prompt: str
    decoded: Decoded
    model: Model
    processor: Processor
    batch_size: int
    forwards: int = 0

    def with_prompts(self, prompts: Sequence[str]) -> list[RawScore]:
        """Return the score of the item under each prompt.

        The variants share their pixels, so that a model computes the vision tokens once a batch.
        """
        ids = [self.processor.encode(prompt) for prompt in prompts]
        items = [self._prepared(self.pixels, one) for one in ids]
        return self._scores([replace(item, shares_pixels=True) for item in items])

    def with_pixels(self, variants: Sequence[Tensor]) -> list[RawScore]:
        """Return the score of each variant of the pixels under the item's prompt."""
        ids = self.processor.encode(self.prompt)
        return self._scores([self._prepared(pixels, ids) for pixels in variants])

    def axis(self, name: str) -> int:
        """Return the index of an axis in a score."""
        return self.model.axes.index(name)

    def _prepared(self, pixels: Tensor, ids: list[int]) -> Prepared:
        return self.processor.prepare(pixels, self.kind, ids)

    def _scores(self, items: Sequence[Prepared]) -> list[RawScore]:
        self.forwards += len(items)
        size = self.batch_size
        batches = [items[at : at + size] for at in range(0, len(items), size)]
        launcher = Launcher(self.model, size, threading.Event())
        try:
            rows = [row for future in launcher.submit(batches) for row in future.result()]
        finally:
            launcher.close()
        return [_checked(row) for row in rows]


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
    return Subject(
        pixels, decoded.kind, prompt, decoded, engine.model, processor, engine.batch_size
    )
