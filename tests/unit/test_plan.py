"""Batches: every item once, neighbours in length, within the budget of tokens."""

import pytest

from librehps.engine.plan import ITEM_TOKENS, plan


@pytest.mark.parametrize("batch_size", [1, 3, 8])
@pytest.mark.parametrize(
    "lengths", [[], [200], [200] * 20, [300, 5000, 10, 200, 784, 784, 20], list(range(1, 900, 7))]
)
@pytest.mark.parametrize("tokens", [None, 400])
def test_plan(lengths: list[int], batch_size: int, tokens: int | None) -> None:
    batches = list(plan(lengths, batch_size, tokens))
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    for batch in batches:
        padded = max(lengths[index] for index in batch) * len(batch)
        assert len(batch) <= batch_size
        assert len(batch) == 1 or padded <= (tokens or batch_size * ITEM_TOKENS)
