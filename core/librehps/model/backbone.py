"""The reward model: the Qwen3.5 backbone without `lm_head`, and the two heads."""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from librehps.model.delta import GatedDeltaNet
from librehps.model.heads import HeadOutput, MultiAxisHead, ScalarHead, run_heads


@dataclass(frozen=True)
class ModelInputs:
    """One batch, right-padded; P patches and V vision tokens over all rows together.

    input_ids (batch, length); position_ids (3, batch, length); patches (P, 1536) normalised pixels;
    grids (items, 3) in patches; vision_index (V,) places of vision tokens in the flattened batch;
    last (batch,) index of each row's reward token.
    """

    input_ids: Tensor
    position_ids: Tensor
    patches: Tensor
    grids: Tensor
    vision_index: Tensor
    last: Tensor


class PatchEmbed(nn.Module):
    """Patches (P, values) to (P, hidden); the convolution's kernel is its stride, so a product."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        size = (config.temporal_patch_size, config.patch_size, config.patch_size)
        self.proj = nn.Conv3d(config.in_channels, config.hidden_size, size, size)

    def forward(self, patches: Tensor) -> Tensor:
        weight = self.proj.weight
        return F.linear(patches.to(weight.dtype), weight.flatten(1), self.proj.bias)


class RewardModel(nn.Module):
    """Scores from token ids and patches. Parameter names are those of the published checkpoint."""

    def __init__(self, config: Any, attention: str) -> None:
        super().__init__()
        from transformers import AutoModel

        self.model: Any = AutoModel.from_config(config, attn_implementation=attention)
        for layer in self.model.language_model.layers:
            if hasattr(layer, "linear_attn"):
                layer.linear_attn = GatedDeltaNet(config.text_config)
        self.model.visual.patch_embed = PatchEmbed(config.vision_config)
        hidden = config.text_config.hidden_size
        self.multi_axis_head = MultiAxisHead(hidden)
        self.scalar_head = ScalarHead(hidden)

    def vision_tokens(self, batch: ModelInputs) -> Tensor:
        """What the vision tower gives for the batch's patches, (V, hidden)."""
        tokens: Tensor = self.model.visual(batch.patches, grid_thw=batch.grids).pooler_output
        return tokens

    def hidden_states(self, batch: ModelInputs, vision: Tensor) -> Tensor:
        """Hidden states after the final norm, (batch, length, hidden).

        No attention mask: under right padding a causal model reads no padding before the end.
        """
        text = self.model.language_model
        embeds = text.embed_tokens(batch.input_ids)
        flat = embeds.flatten(0, 1).index_copy(0, batch.vision_index, vision.to(embeds.dtype))
        hidden: Tensor = text(
            inputs_embeds=flat.view_as(embeds), position_ids=batch.position_ids, use_cache=False
        ).last_hidden_state
        return hidden

    def reward_states(self, batch: ModelInputs) -> Tensor:
        """Hidden state of each row's reward token, (batch, hidden): all that the heads read."""
        hidden = self.hidden_states(batch, self.vision_tokens(batch))
        rows = torch.arange(len(hidden), device=hidden.device)
        return hidden[rows, batch.last]

    def forward(self, batch: ModelInputs) -> HeadOutput:
        return run_heads(self.multi_axis_head, self.scalar_head, self.reward_states(batch))
