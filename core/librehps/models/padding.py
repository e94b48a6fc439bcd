"""Padding of token streams with different lengths to one batch."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from librehps.models.base import Prepared


class Padded(NamedTuple):
    """The token streams of a batch, right-padded with zeros, on the CPU.

    ids (batch, length); positions (3, batch, length); vision (V,) indices of all vision tokens in
    the flattened batch; last (batch,) index of each row's reward token.
    """

    ids: Tensor
    positions: Tensor
    vision: Tensor
    last: Tensor


def padded(items: Sequence[Prepared]) -> Padded:
    """Return the streams of the items, right-padded to the longest."""
    lengths = [len(item.ids) for item in items]
    width = max(lengths)
    ids = torch.zeros(len(items), width, dtype=torch.long)
    positions = torch.zeros(3, len(items), width, dtype=torch.long)
    for row, item in enumerate(items):
        ids[row, : lengths[row]] = item.ids
        positions[:, row, : lengths[row]] = item.positions
    vision = torch.cat([item.vision + row * width for row, item in enumerate(items)])
    return Padded(ids, positions, vision, torch.tensor(lengths) - 1)
