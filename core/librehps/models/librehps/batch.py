"""The forward of a batch: padding, patches, backbone, heads."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from librehps.models.base import Prepared
from librehps.models.device import copied, moved
from librehps.models.librehps.backbone import ModelInputs, RewardModel
from librehps.models.librehps.config import MERGE, PATCH
from librehps.models.librehps.heads import HeadOutput
from librehps.models.padding import padded
from librehps.models.stored_embedding import RowEmbedding
from librehps.models.vision import own_floats, unfold


def grid_of(pixels: Tensor) -> tuple[int, int, int]:
    """Return (time steps, rows, columns) in patches of (frames, 3, H, W); a step is two frames."""
    frames, _, height, width = pixels.shape
    return (frames + 1) // 2, height // PATCH, width // PATCH


def patchify(pixels: Tensor) -> Tensor:
    """Return (frames, 3, H, W) pixels as normalised float patches.

    Pixels are uint8, or the same levels as floats, which keep their graph. Shape (steps * rows *
    columns, 1536). An odd number of frames repeats the last frame; patches of one 2 x 2 merge
    block are neighbours.
    """
    # In place, because the patches are eight times as large as the pixels.
    return own_floats(unfold(pixels, PATCH, MERGE)).div_(255).sub_(0.5).div_(0.5)


def collate(
    items: Sequence[Prepared], device: torch.device, embedding: RowEmbedding | None = None
) -> ModelInputs:
    """Return the network's input for the items; pixels are unfolded on `device`.

    The rows of an `embedding` off the device are looked up here, and sent. Pixels that
    items share go through the vision tower once.
    """
    streams = padded(items)
    pixels = {_key(at, item): item.pixels for at, item in enumerate(items)}
    shared = None if len(pixels) == len(items) else _shared(items, pixels)
    rows, ids = (None, streams.ids) if embedding is None else embedding.lookup(streams.ids)
    return ModelInputs(
        input_ids=moved(ids, device),
        position_ids=moved(streams.positions, device),
        patches=torch.cat([patchify(moved(frames, device)) for frames in pixels.values()]),
        grids=tuple(map(grid_of, pixels.values())),
        vision_index=moved(streams.vision, device),
        last=moved(streams.last, device),
        rows=None if rows is None else moved(rows, device),
        shared=None if shared is None else moved(shared, device),
    )


def _key(at: int, item: Prepared) -> tuple[int, bool]:
    """Return a key of the pixels of the item at an index, equal for items that share them."""
    return (id(item.pixels), True) if item.shares_pixels else (at, False)


def _shared(items: Sequence[Prepared], pixels: Mapping[tuple[int, bool], Tensor]) -> Tensor:
    """Return the index of each item's vision tokens among those of the distinct pixels."""
    tokens, start = {}, 0
    for key, frames in pixels.items():
        steps, rows, columns = grid_of(frames)
        count = steps * rows * columns // MERGE**2
        tokens[key] = torch.arange(start, start + count)
        start += count
    return torch.cat([tokens[_key(at, item)] for at, item in enumerate(items)])


@torch.inference_mode()
def launch(
    model: RewardModel,
    items: Sequence[Prepared],
    device: torch.device,
    embedding: RowEmbedding | None = None,
) -> Callable[[], HeadOutput]:
    """Start a batch, and return a function that waits for the head outputs on the CPU."""
    output: HeadOutput = model(collate(items, device, embedding))
    wait = copied(output, device)
    return lambda: HeadOutput(*wait())


def forward(model: RewardModel, items: Sequence[Prepared], device: torch.device) -> HeadOutput:
    """Return the head outputs of the items on the CPU, one row per item."""
    return launch(model, items, device)()
