"""The LibreHPS network on a device, as a `Model` for the engine."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from librehps.models.base import Prepared
from librehps.models.librehps.backbone import RewardModel
from librehps.models.librehps.batch import collate, launch
from librehps.models.librehps.heads import HeadOutput
from librehps.models.librehps.recompute import recomputing
from librehps.models.raw_scores import RawScores
from librehps.models.stored_embedding import RowEmbedding


@dataclass
class LibreHPSModel:
    """The network on a device, the axes that its heads score, and an embedding off the device."""

    network: RewardModel
    device: torch.device
    dtype: torch.dtype
    axes: tuple[str, ...]
    embedding: RowEmbedding | None = None

    recomputes = True

    def launch(self, batch: Sequence[Prepared]) -> Callable[[], RawScores]:
        """Start a batch, and return a function that waits for the raw score of each item."""
        wait = launch(self.network, batch, self.device, self.embedding)
        return lambda: RawScores.of_columns(*wait())

    def mu(self, batch: Sequence[Prepared], recompute: bool = False) -> Tensor:
        """Return mu of the items, (batch, axes) float32, with the graph to their float pixels.

        recompute: the layers keep only their inputs for the backward pass.
        """
        with recomputing(recompute):
            output: HeadOutput = self.network(collate(batch, self.device, self.embedding))
        return output.mu
