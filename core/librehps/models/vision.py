"""Parts of a Qwen vision tower, for any model family."""

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from librehps.models.attention_kernels import attend
from librehps.models.kernels.choice import current_kernels


class PatchEmbed(nn.Module):
    """The patch embedding, (P, values) to (P, hidden).

    A matrix product, because the convolution's kernel equals its stride.
    """

    def __init__(self, config: Any, width: int, bias: bool = True) -> None:
        super().__init__()
        size = (config.temporal_patch_size, config.patch_size, config.patch_size)
        self.proj = nn.Conv3d(config.in_channels, width, size, size, bias=bias)

    def forward(self, patches: Tensor) -> Tensor:
        weight = self.proj.weight
        return F.linear(patches.to(weight.dtype), weight.flatten(1), self.proj.bias)


class VisionAttention(nn.Module):
    """Attention within each time step of each item; steps of the same size form one batch.

    The backend is read from `config`, where `set_attn_implementation` stores it.
    """

    is_causal = False

    def __init__(self, config: Any, width: int) -> None:
        super().__init__()
        self.config = config
        self.num_heads: int = config.num_heads
        self.scaling = (width // config.num_heads) ** -0.5
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(
        self,
        hidden_states: Tensor,
        cu_seqlens: Tensor,
        position_embeddings: tuple[Tensor, Tensor],
        lengths: Sequence[int],
        **_: Any,
    ) -> Tensor:
        """Return the attention output (P, hidden) of hidden_states (P, hidden).

        Time steps have `lengths` patches, in order; cu_seqlens (steps + 1,) are their cumulative
        lengths on the device, for flash attention.
        """
        mixed = self.mix(*self.inputs(hidden_states, position_embeddings), cu_seqlens, lengths)
        output: Tensor = self.proj(mixed)
        return output

    def inputs(
        self, hidden: Tensor, rotary: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the rotated query and key, and the value, each (P, heads, d)."""
        heads = self.num_heads
        qkv = self.qkv(hidden).unflatten(-1, (3 * heads, -1))
        query, key = rotate(qkv[:, : 2 * heads], *rotary).split(heads, 1)
        return query, key, qkv[:, 2 * heads :]

    def mix(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        cu_seqlens: Tensor,
        lengths: Sequence[int],
    ) -> Tensor:
        """Return the values mixed within each time step, (P, hidden), before `proj`."""
        if self.config._attn_implementation.startswith("flash"):
            mixed = self._ragged(query, key, value, cu_seqlens, max(lengths))
        else:
            parts = [self._batch(*part) for part in _by_length((query, key, value), lengths)]
            mixed = parts[0] if len(parts) == 1 else torch.cat(parts)
        return mixed.flatten(1)

    def _batch(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Return (steps * length, heads, d) for inputs of (steps, length, heads, d)."""
        query, key, value = (x.transpose(1, 2) for x in (query, key, value))
        return attend(self, query, key, value).flatten(0, 1)

    def _ragged(
        self, query: Tensor, key: Tensor, value: Tensor, cu_seqlens: Tensor, longest: int
    ) -> Tensor:
        query, key, value = (x.transpose(0, 1).unsqueeze(0) for x in (query, key, value))
        mixed = attend(
            self,
            query,
            key,
            value,
            cu_seq_lens_q=cu_seqlens,
            cu_seq_lens_k=cu_seqlens,
            max_length_q=longest,
            max_length_k=longest,
        )
        return mixed[0]


def unfold(pixels: Tensor, patch: int, merge: int) -> Tensor:
    """Return (frames, 3, H, W) pixels as patches (steps * rows * columns, 6 * patch * patch).

    An odd number of frames repeats the last frame; patches of one merge block are neighbours.
    """
    if len(pixels) % 2:
        pixels = torch.cat([pixels, pixels[-1:]])
    steps, rows, columns = len(pixels) // 2, pixels.shape[2] // patch, pixels.shape[3] // patch
    blocks = pixels.view(steps, 2, 3, rows // merge, merge, patch, columns // merge, merge, patch)
    return blocks.permute(0, 3, 6, 4, 7, 2, 1, 5, 8).reshape(steps * rows * columns, -1)


def own_floats(patches: Tensor) -> Tensor:
    """Return a copy of the patches as floats, which may be changed in place.

    Of uint8 as float32; of floats in their dtype, with their graph.
    """
    return patches.clone() if patches.is_floating_point() else patches.float()


def block_coordinates(rows: int, columns: int, merge: int) -> Tensor:
    """Return row and column of each patch, (rows * columns, 2), in the order of `unfold`."""
    down, across = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    positions = torch.stack([down, across], -1)
    blocks = positions.view(rows // merge, merge, columns // merge, merge, 2)
    return blocks.transpose(1, 2).flatten(0, 3)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Return x (P, heads, d) with rotary positions applied in float32.

    cos, sin: (P, d), both halves equal, or (P, d / 2).
    """
    if (kernels := current_kernels()) is not None:
        turned: Tensor = kernels.rotated(x, cos, sin)
        return turned
    half = x.shape[-1] // 2
    cos, sin = cos[:, None, :half].float(), sin[:, None, :half].float()
    pairs = x.float().unflatten(-1, (2, half))
    turned = pairs * cos.unsqueeze(2)
    turned[:, :, 0].addcmul_(pairs[:, :, 1], sin, value=-1)
    turned[:, :, 1].addcmul_(pairs[:, :, 0], sin)
    rotated: Tensor = turned.flatten(-2).to(x.dtype)
    return rotated


def _by_length(tensors: tuple[Tensor, ...], lengths: Sequence[int]) -> list[tuple[Tensor, ...]]:
    """Return runs of steps with equal length as (steps, length, heads, d), in order."""
    parts, at = [], 0
    for length, run in groupby(lengths):
        steps = len(list(run))
        rows = slice(at, at + steps * length)
        parts.append(tuple(tensor[rows].unflatten(0, (steps, length)) for tensor in tensors))
        at += steps * length
    return parts
