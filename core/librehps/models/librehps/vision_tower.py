"""The vision tower of Qwen3.5, from patches to vision tokens of the text model's width."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from librehps.models.librehps.activations import ACTIVATIONS
from librehps.models.librehps.config import VisionConfig
from librehps.models.librehps.positions import Grid, axial_rotary, patch_positions
from librehps.models.librehps.recompute import RecomputedLayer
from librehps.models.librehps.rotary import frequencies
from librehps.models.vision import PatchEmbed, VisionAttention

NORM_EPS = 1e-6
CPU_PATCHES = 1024


class VisionMLP(nn.Module):
    """The feed-forward part of a block."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.linear_fc1 = nn.Linear(config.hidden_size, config.intermediate_size)
        self.linear_fc2 = nn.Linear(config.intermediate_size, config.hidden_size)
        self.activation = ACTIVATIONS[config.hidden_act]

    def forward(self, hidden: Tensor) -> Tensor:
        output: Tensor = self.linear_fc2(self.activation(self.linear_fc1(hidden)))
        return output


class VisionBlock(RecomputedLayer):
    """A layer of the vision tower: attention within a time step, and the feed-forward part."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(config.hidden_size, eps=NORM_EPS)
        self.norm2 = nn.LayerNorm(config.hidden_size, eps=NORM_EPS)
        self.attn = VisionAttention(config, config.hidden_size)
        self.mlp = VisionMLP(config)

    def forward(
        self,
        hidden: Tensor,
        cu_seqlens: Tensor,
        rotary: tuple[Tensor, Tensor],
        lengths: Sequence[int],
    ) -> Tensor:
        hidden = hidden + self.attn(self.norm1(hidden), cu_seqlens, rotary, lengths)
        output: Tensor = hidden + self.mlp(self.norm2(hidden))
        return output


class PatchMerger(nn.Module):
    """The last part of the tower: each merge block of patches becomes one vision token."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.width = width = config.hidden_size * config.spatial_merge_size**2
        self.norm = nn.LayerNorm(config.hidden_size, eps=NORM_EPS)
        self.linear_fc1 = nn.Linear(width, width)
        self.linear_fc2 = nn.Linear(width, config.out_hidden_size)

    def forward(self, hidden: Tensor) -> Tensor:
        blocks = self.norm(hidden).view(-1, self.width)
        tokens: Tensor = self.linear_fc2(F.gelu(self.linear_fc1(blocks)))
        return tokens


class VisionTower(nn.Module):
    """The vision tower: patches (P, values) and their grids to vision tokens (V, hidden)."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.config = config
        self.patch_embed = PatchEmbed(config, config.hidden_size)
        self.pos_embed = nn.Embedding(config.num_position_embeddings, config.hidden_size)
        self.blocks: Any = nn.ModuleList(VisionBlock(config) for _ in range(config.depth))
        self.merger = PatchMerger(config)

    def forward(self, patches: Tensor, grids: Sequence[Grid]) -> Tensor:
        if patches.device.type != "cpu":
            return self._tokens(patches, grids)
        # No step sees another: on a CPU, the activations of few patches stay in its caches.
        parts = list(_parts(grids))
        split = patches.split([sum(rows * columns for _, rows, columns in part) for part in parts])
        return torch.cat([self._tokens(*at) for at in zip(split, parts, strict=True)])

    def _tokens(self, patches: Tensor, grids: Sequence[Grid]) -> Tensor:
        config = self.config
        side = int(config.num_position_embeddings**0.5)
        at = patch_positions(grids, side, config.spatial_merge_size, patches.device)
        hidden = self.patch_embed(patches)
        learned = self.pos_embed(at.corners) * at.weights[..., None]
        hidden = hidden + learned.sum(1).to(hidden.dtype)
        axis_dim = config.hidden_size // config.num_heads // 2
        turns = frequencies(config.rope.theta, axis_dim, patches.device)
        rotary = axial_rotary(at.coordinates, turns)
        for block in self.blocks:
            hidden = block(hidden, at.cu_seqlens, rotary, at.lengths)
        tokens: Tensor = self.merger(hidden)
        return tokens


def _parts(grids: Sequence[Grid]) -> Iterator[list[Grid]]:
    """Yield runs of single time steps, each of at most CPU_PATCHES patches or of one step."""
    part: list[Grid] = []
    for steps, rows, columns in grids:
        for _ in range(steps):
            if part and sum(r * c for _, r, c in part) + rows * columns > CPU_PATCHES:
                yield part
                part = []
            part.append((1, rows, columns))
    if part:
        yield part
