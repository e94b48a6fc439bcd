"""The HPSv3 network: the Qwen2-VL backbone without `lm_head`, and the head."""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from librehps.models.hpsv3.rotary import frequencies
from librehps.models.kernels.choice import on_kernels
from librehps.models.vision import PatchEmbed, VisionAttention

HEAD = "rm_head."


@dataclass(frozen=True)
class ModelInputs:
    """The network's input for a batch, right-padded, with P patches and V vision tokens in all.

    input_ids (batch, length); position_ids (3, batch, length); patches (P, 1176) normalised pixels;
    cos and sin (P, head dim / 2) of the patches; lengths of the images in patches, cu_seqlens
    (batch + 1,) their ends; vision_index (V,) indices of vision tokens in the flattened batch; last
    (batch,) index of each row's reward token; rows (U, hidden) that input_ids
    index, None if they index the model's own embedding.
    """

    input_ids: Tensor
    position_ids: Tensor
    patches: Tensor
    cos: Tensor
    sin: Tensor
    lengths: tuple[int, ...]
    cu_seqlens: Tensor
    vision_index: Tensor
    last: Tensor
    rows: Tensor | None = None


class RewardModel(nn.Module):
    """The network: scores from token ids and patches; parameter names as in `transformers` 5.

    `uses_kernels`: its layers run on the kernels of Triton.
    """

    uses_kernels = False

    def __init__(self, config: Any, attention: str) -> None:
        super().__init__()
        from transformers import AutoModel

        self.model: Any = AutoModel.from_config(config, attn_implementation=attention)
        visual = self.model.visual
        visual.patch_embed = PatchEmbed(visual.config, visual.config.embed_dim, bias=False)
        for block in visual.blocks:
            block.attn = VisionAttention(visual.config, visual.config.embed_dim)
        # `vision_rotary` computes the angles for each batch in bfloat16 instead.
        del visual.rotary_pos_emb
        self.rm_head = nn.Sequential(
            nn.Linear(config.text_config.hidden_size, 1024),
            nn.ReLU(),
            nn.Dropout(0.05),
            nn.Linear(1024, 16),
            nn.ReLU(),
            nn.Linear(16, 2),
        )

    def set_rotary(self, device: torch.device) -> None:
        """Compute the text model's rotary frequencies, rounded to bfloat16."""
        rotary = self.model.language_model.rotary_emb
        config = self.model.language_model.config
        width = config.hidden_size // config.num_attention_heads
        table = frequencies(config.rope_parameters["rope_theta"], width).to(device)
        rotary.inv_freq, rotary.original_inv_freq = table, table.clone()

    def vision_tokens(self, batch: ModelInputs) -> Tensor:
        """Return the vision tower's output for the batch's patches, (V, hidden)."""
        visual = self.model.visual
        hidden = visual.patch_embed(batch.patches)
        for block in visual.blocks:
            hidden = block(
                hidden,
                cu_seqlens=batch.cu_seqlens,
                position_embeddings=(batch.cos, batch.sin),
                lengths=batch.lengths,
            )
        tokens: Tensor = visual.merger(hidden)
        return tokens

    def reward_states(self, batch: ModelInputs) -> Tensor:
        """Return the hidden state of each row's reward token, (batch, hidden).

        No attention mask is needed: with right padding a causal model never attends to padding
        before the last token.
        """
        text = self.model.language_model
        if batch.rows is None:
            embeds = text.embed_tokens(batch.input_ids)
        else:
            embeds = F.embedding(batch.input_ids, batch.rows)
        vision = self.vision_tokens(batch).to(embeds.dtype)
        placed = embeds.flatten(0, 1).index_copy(0, batch.vision_index, vision).view_as(embeds)
        hidden: Tensor = text(
            inputs_embeds=placed, position_ids=batch.position_ids, use_cache=False
        ).last_hidden_state
        return hidden[torch.arange(len(hidden), device=hidden.device), batch.last]

    def forward(self, batch: ModelInputs) -> Tensor:
        """Return mu and log sigma, (batch, 2) float32; the head runs in float32."""
        with on_kernels(self.uses_kernels):
            hidden = self.reward_states(batch)
        with torch.autocast(hidden.device.type, enabled=False):
            output: Tensor = self.rm_head(hidden.float())
        return output
