"""The input of a training step: model inputs and targets of a batch of pairs."""

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from librehps.errors import ItemError, TrainingError
from librehps.models.librehps.backbone import ModelInputs, RewardModel
from librehps.models.librehps.batch import collate
from librehps.models.librehps.heads import HeadOutput, run_heads
from librehps.preferences.media import Key, items_of, keys_of
from librehps.preferences.pairs import Pair
from librehps.train.base import Base
from librehps.types import Item


@dataclass(frozen=True)
class Targets:
    """The targets of a batch, NaN if unknown.

    preference: (pairs, axes); rating: (2 x pairs,), of all a's, then of all b's.
    """

    preference: Tensor
    rating: Tensor


class Feed(Protocol):
    """A source of inputs of `trainee` for a batch of pairs: all a's, then all b's."""

    @property
    def trainee(self) -> nn.Module: ...

    def open(self) -> None: ...

    def inputs(self, pairs: Sequence[Pair]) -> ModelInputs | Tensor: ...


class MediaFeed:
    """A feed that decodes media in each step, for `lora` and `full` training."""

    def __init__(self, base: Base) -> None:
        self.base, self.trainee = base, base.model
        self._pool = ThreadPoolExecutor(os.cpu_count())

    def open(self) -> None:
        """Do nothing: each step decodes its own media."""

    def inputs(self, pairs: Sequence[Pair]) -> ModelInputs:
        sides = [Item(p.pair_id, p.media_a, p.prompt) for p in pairs]
        sides += [Item(p.pair_id, p.media_b, p.prompt) for p in pairs]
        decoded = list(self._pool.map(self.base.decoder.decode, sides))
        return collate([d.prepared for d in decoded], self.base.device)


class Heads(nn.Module):
    """The two heads without the backbone, on hidden states of the reward token."""

    def __init__(self, model: RewardModel) -> None:
        super().__init__()
        self.multi_axis_head, self.scalar_head = model.multi_axis_head, model.scalar_head

    def forward(self, hidden: Tensor) -> HeadOutput:
        return run_heads(self.multi_axis_head, self.scalar_head, hidden)


class StateFeed:
    """A feed of hidden states computed once, since a frozen backbone never changes."""

    def __init__(self, base: Base, compute: Callable[[], Mapping[Key, Tensor]]) -> None:
        self.trainee = Heads(base.model)
        self._compute, self._device = compute, base.device
        self._states: Mapping[Key, Tensor] = {}

    def open(self) -> None:
        """Compute the states, in all processes together; a finished run needs none."""
        self._states = self._compute()

    def inputs(self, pairs: Sequence[Pair]) -> Tensor:
        keys = [keys_of(pair) for pair in pairs]
        ordered = [a for a, _ in keys] + [b for _, b in keys]
        return torch.stack([self._states[key] for key in ordered]).to(self._device)


def targets_of(pairs: Sequence[Pair], device: torch.device, axes: Sequence[str]) -> Targets:
    """Return the preferences and ratings of the pairs as tensors."""
    unknown = float("nan")
    preference = [[pair.preference.get(axis, unknown) for axis in axes] for pair in pairs]
    sides = [p.rating_a for p in pairs] + [p.rating_b for p in pairs]
    ratings = [unknown if rating is None else rating for rating in sides]
    return Targets(torch.tensor(preference, device=device), torch.tensor(ratings, device=device))


@torch.no_grad()
def reward_states(
    items: Sequence[tuple[Key, Item]], base: Base, batch_size: int
) -> dict[Key, Tensor]:
    """Return the hidden state of the reward token of each item, (hidden,) float32 on the CPU."""
    states: dict[Key, Tensor] = {}
    base.model.eval()
    for start in range(0, len(items), batch_size):
        part = items[start : start + batch_size]
        batch = collate([base.decoder.decode(item).prepared for _, item in part], base.device)
        found = base.model.reward_states(batch).float().cpu()
        states |= {key: state for (key, _), state in zip(part, found, strict=True)}
    return states


def readable(pairs: Sequence[Pair], base: Base, broken: dict[str, ItemError]) -> list[Pair]:
    """Return the pairs whose media can both be decoded; adds errors to `broken`, by media.

    Checked before the first step, so that an invalid file does not end a run after days. Raises
    TrainingError if no pair is left.
    """
    items = items_of(pairs)

    def problem(item: Item) -> ItemError | None:
        try:
            base.decoder.decode(item)
        except ItemError as error:
            return error
        return None

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = dict(zip(items, pool.map(problem, items.values()), strict=True))
    broken |= {key[0]: error for key, error in found.items() if error is not None}
    whole = [pair for pair in pairs if all(found[key] is None for key in keys_of(pair))]
    if not whole:
        first = next(iter(broken.values()))
        raise TrainingError(f"none of the {len(pairs)} pairs can be decoded; first error: {first}")
    return whole
