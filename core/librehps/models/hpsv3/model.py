"""The HPSv3 network on a device: a batch is padded, cut into patches, and scored."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from librehps.models.base import Prepared
from librehps.models.device import copied, moved
from librehps.models.hpsv3.backbone import ModelInputs, RewardModel
from librehps.models.hpsv3.rotary import vision_rotary
from librehps.models.padding import padded
from librehps.models.raw_scores import RawScores
from librehps.models.stored_embedding import off_device
from librehps.models.vision import own_floats, unfold

AXES = ("overall",)
PATCH, MERGE = 14, 2
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)


@dataclass
class HPSv3Model:
    """The network on a device, as a `Model` for the engine."""

    network: RewardModel
    device: torch.device
    dtype: torch.dtype
    axes: tuple[str, ...] = AXES
    # The text layers are those of `transformers`.
    recomputes = False

    @torch.inference_mode()
    def launch(self, batch: Sequence[Prepared]) -> Callable[[], RawScores]:
        """Start a batch, and return a function that waits for the raw score of each item."""
        wait = copied([self.network(self.collate(batch))], self.device)
        return lambda: _rows(wait()[0])

    def mu(self, batch: Sequence[Prepared], recompute: bool = False) -> Tensor:
        """Return mu of the items, (batch, 1) float32, with the graph to their float pixels."""
        output: Tensor = self.network(self.collate(batch))
        return output[:, :1]

    def collate(self, items: Sequence[Prepared]) -> ModelInputs:
        """Return the network's input for the items; pixels are unfolded on the device."""
        streams = padded(items)
        embedding = off_device(self.network.model.language_model)
        rows, ids = (None, streams.ids) if embedding is None else embedding.lookup(streams.ids)
        grids = [grid_of(item.pixels) for item in items]
        patches = tuple(rows * columns for rows, columns in grids)
        config = self.network.model.visual.config
        cos, sin = vision_rotary(grids, config.embed_dim // config.num_heads, MERGE)
        return ModelInputs(
            input_ids=moved(ids, self.device),
            position_ids=moved(streams.positions, self.device),
            patches=torch.cat([patchify(moved(item.pixels, self.device)) for item in items]),
            cos=moved(cos, self.device),
            sin=moved(sin, self.device),
            lengths=patches,
            cu_seqlens=moved(torch.tensor([0, *patches]).cumsum(0, dtype=torch.int32), self.device),
            vision_index=moved(streams.vision, self.device),
            last=moved(streams.last, self.device),
            rows=None if rows is None else moved(rows, self.device),
        )


def grid_of(pixels: Tensor) -> tuple[int, int]:
    """Return the (rows, columns) of patches in (1, 3, H, W) pixels."""
    return pixels.shape[-2] // PATCH, pixels.shape[-1] // PATCH


def patchify(pixels: Tensor) -> Tensor:
    """Return (1, 3, H, W) pixels as normalised float patches (rows * columns, 1176).

    Pixels are uint8, or the same levels as floats, which keep their graph.
    """
    mean, std = (torch.tensor(values, device=pixels.device) for values in (MEAN, STD))
    patches = own_floats(unfold(pixels, PATCH, MERGE)).div_(255)
    patches.view(len(patches), 3, -1).sub_(mean[:, None]).div_(std[:, None])
    return patches


def _rows(output: Tensor) -> RawScores:
    """Return the raw scores of rows (mu, log sigma) of (batch, 2); log sigma is not clamped."""
    return RawScores.of_columns(output[:, :1], output[:, 1:].exp())
