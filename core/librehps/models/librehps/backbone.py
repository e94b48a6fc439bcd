"""The reward model: the Qwen3.5 backbone without `lm_head`, and the two heads."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from librehps.models.librehps.gated_delta_net import GatedDeltaNet
from librehps.models.librehps.heads import HeadOutput, MultiAxisHead, ScalarHead, run_heads
from librehps.models.librehps.last_layer import last_layer
from librehps.models.librehps.positions import Grid, axial_rotary, patch_positions
from librehps.models.vision import PatchEmbed, VisionAttention
from librehps.types import AXES


@dataclass(frozen=True)
class ModelInputs:
    """The network's input for a batch, right-padded, with P patches and V vision tokens in all.

    input_ids (batch, length); position_ids (3, batch, length); patches (P, 1536) normalised pixels;
    grids of the items in patches, plain numbers; vision_index (V,) indices of vision tokens in the
    flattened batch; last (batch,) index of each row's reward token.
    """

    input_ids: Tensor
    position_ids: Tensor
    patches: Tensor
    grids: tuple[Grid, ...]
    vision_index: Tensor
    last: Tensor


class RewardModel(nn.Module):
    """The network: scores from token ids and patches; parameter names as published."""

    def __init__(self, config: Any, attention: str, axes: int = len(AXES)) -> None:
        super().__init__()
        from transformers import AutoModel

        self.model: Any = AutoModel.from_config(config, attn_implementation=attention)
        for layer in self.model.language_model.layers:
            if hasattr(layer, "linear_attn"):
                layer.linear_attn = GatedDeltaNet(config.text_config)
        visual = self.model.visual
        visual.patch_embed = PatchEmbed(visual.config, visual.config.hidden_size)
        for block in visual.blocks:
            block.attn = VisionAttention(visual.config, visual.config.hidden_size)
        hidden = config.text_config.hidden_size
        self.multi_axis_head = MultiAxisHead(hidden, axes)
        self.scalar_head = ScalarHead(hidden)

    def vision_tokens(self, batch: ModelInputs) -> Tensor:
        """Return the vision tower's output for the batch's patches, (V, hidden)."""
        visual = self.model.visual
        merge = visual.config.spatial_merge_size
        positions = patch_positions(
            batch.grids, visual.num_grid_per_side, merge, batch.patches.device
        )
        hidden = visual.patch_embed(batch.patches)
        learned = visual.pos_embed(positions.corners) * positions.weights[..., None]
        hidden = hidden + learned.sum(1).to(hidden.dtype)
        rotary = axial_rotary(positions.coordinates, visual.rotary_pos_emb.inv_freq)
        for block in visual.blocks:
            hidden = block(
                hidden,
                cu_seqlens=positions.cu_seqlens,
                position_embeddings=rotary,
                lengths=positions.lengths,
            )
        tokens: Tensor = visual.merger(hidden)
        return tokens

    def hidden_states(self, batch: ModelInputs, vision: Tensor) -> Tensor:
        """Return the hidden states after the final norm, (batch, length, hidden).

        No attention mask is needed: with right padding a causal model never attends to padding
        before the last token.
        """
        hidden: Tensor = self.model.language_model(
            inputs_embeds=self._embedded(batch, vision),
            position_ids=batch.position_ids,
            use_cache=False,
        ).last_hidden_state
        return hidden

    def reward_states(self, batch: ModelInputs) -> Tensor:
        """Return the hidden state of each row's reward token, (batch, hidden), for the heads."""
        text = self.model.language_model
        # Eager attention is causal only through a mask, which the model's own forward makes.
        if torch.is_grad_enabled() or text.config._attn_implementation == "eager":
            hidden = self.hidden_states(batch, self.vision_tokens(batch))
            rows = torch.arange(len(hidden), device=hidden.device)
            return hidden[rows, batch.last]
        hidden = self._embedded(batch, self.vision_tokens(batch))
        rotary = text.rotary_emb(hidden, batch.position_ids)
        *layers, final = text.layers
        for layer in layers:
            hidden = layer(hidden, position_embeddings=rotary)
        states: Tensor = text.norm(last_layer(final, hidden, rotary, batch.last))
        return states

    def _embedded(self, batch: ModelInputs, vision: Tensor) -> Tensor:
        """Return the embeddings of the streams with vision tokens, (batch, length, hidden)."""
        embeds = self.model.language_model.embed_tokens(batch.input_ids)
        flat = embeds.flatten(0, 1).index_copy(0, batch.vision_index, vision.to(embeds.dtype))
        placed: Tensor = flat.view_as(embeds)
        return placed

    def forward(self, batch: ModelInputs) -> HeadOutput:
        return run_heads(self.multi_axis_head, self.scalar_head, self.reward_states(batch))
