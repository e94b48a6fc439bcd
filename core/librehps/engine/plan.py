"""Batch planning: which items of a window share a batch."""

from collections.abc import Iterator, Sequence

# Tokens of a usual item: an image of the default size and a prompt of common length.
ITEM_TOKENS = 256


def plan(lengths: Sequence[int], batch_size: int, tokens: int | None = None) -> Iterator[list[int]]:
    """Yield batches of indices into `lengths` (tokens), sorted by length.

    A batch holds at most `batch_size` items, and at most `tokens` (None: `batch_size` x 256)
    including padding; an item longer than `tokens` is a batch of its own.
    """
    budget = batch_size * ITEM_TOKENS if tokens is None else tokens
    order, batch = sorted(range(len(lengths)), key=lengths.__getitem__), list[int]()
    if lengths and lengths[order[-1]] * batch_size <= budget:
        # Full batches of the longest items would fit.
        yield from (order[at : at + batch_size] for at in range(0, len(order), batch_size))
        return
    for index in order:
        padded = lengths[index] * (len(batch) + 1)
        if batch and (len(batch) == batch_size or padded > budget):
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch
