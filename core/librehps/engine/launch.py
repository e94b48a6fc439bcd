"""Batches on the device: one is prepared while the one before runs, and halved where it is full."""

import logging
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence

import torch

from librehps.errors import DeviceMemoryError, ItemError
from librehps.model.backbone import RewardModel
from librehps.model.heads import HeadOutput
from librehps.pipeline.forward import Prepared, launch

log = logging.getLogger("librehps")

# What devices without an error class of their own say when they are full.
FULL = ("out of memory", "can't allocate memory", "not enough memory")

Result = tuple[int, HeadOutput | ItemError]


class Launcher:
    """Runs batches of indices; `batch_size` shrinks for good where the device was full."""

    def __init__(self, model: RewardModel, device: torch.device, batch_size: int) -> None:
        self.batch_size = batch_size
        self._model, self._device = model, device
        self._seconds = 0.0

    def run(self, items: Sequence[Prepared], batches: Iterable[list[int]]) -> Iterator[Result]:
        """(index into items, its output of one row, or why there is none)."""
        flying: deque[tuple[list[int], HeadOutput]] = deque()
        for part, output in self._all_launched(items, batches):
            if isinstance(output, ItemError):
                yield from ((index, output) for index in part)
                continue
            flying.append((part, output))
            # A result is waited for only when the next batch is on its way.
            if len(flying) > 1:
                yield from self._landed(*flying.popleft())
        while flying:
            yield from self._landed(*flying.popleft())

    def take_seconds(self) -> float:
        """Seconds spent in forwards since it was last asked."""
        seconds, self._seconds = self._seconds, 0.0
        return seconds

    def _all_launched(
        self, items: Sequence[Prepared], batches: Iterable[list[int]]
    ) -> Iterator[tuple[list[int], HeadOutput | ItemError]]:
        for batch in batches:
            at = 0
            while at < len(batch):
                part = batch[at : at + self.batch_size]
                yield from self._launched(items, part)
                at += len(part)

    def _launched(
        self, items: Sequence[Prepared], batch: list[int]
    ) -> Iterator[tuple[list[int], HeadOutput | ItemError]]:
        started = time.perf_counter()
        try:
            output = launch(self._model, [items[index] for index in batch], self._device)
        except (torch.OutOfMemoryError, RuntimeError) as error:
            if not is_full(error):
                raise
        else:
            self._seconds += time.perf_counter() - started
            yield batch, output
            return
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
        if len(batch) == 1:
            yield batch, DeviceMemoryError(f"one item alone does not fit on {self._device}")
            return
        half = len(batch) // 2
        if half < self.batch_size:
            self.batch_size = half
            log.warning("out of memory on %s: batches of %d from here on", self._device, half)
        yield from self._launched(items, batch[:half])
        yield from self._launched(items, batch[half:])

    def _landed(self, batch: list[int], output: HeadOutput) -> Iterator[Result]:
        started = time.perf_counter()
        here = [tensor.cpu() for tensor in output]
        self._seconds += time.perf_counter() - started
        for at, index in enumerate(batch):
            yield index, HeadOutput(*(tensor[at : at + 1] for tensor in here))


def is_full(error: Exception) -> bool:
    """Whether the error says that a device has no memory left."""
    if isinstance(error, torch.OutOfMemoryError):
        return True
    return any(words in str(error).lower() for words in FULL)
