"""Second stage: which items share a batch."""

from collections.abc import Iterator, Sequence

# Tokens that an item counts as: a still of the published size and a prompt of usual length.
ITEM_TOKENS = 256


def plan(lengths: Sequence[int], batch_size: int, tokens: int | None = None) -> Iterator[list[int]]:
    """Indices into `lengths` (tokens), cut into batches of neighbours in length.

    A batch holds at most `batch_size` items, and at most `tokens` (None: `batch_size` x 256) with
    its padding, unless it is one item alone.
    """
    budget = batch_size * ITEM_TOKENS if tokens is None else tokens
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda i: lengths[i]):
        padded = lengths[index] * (len(batch) + 1)
        if batch and (len(batch) == batch_size or padded > budget):
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch
