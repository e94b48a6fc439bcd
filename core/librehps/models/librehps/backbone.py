"""The reward model: the Qwen3.5 backbone without `lm_head`, and the two heads."""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from librehps.models.attention_kernels import check_backend
from librehps.models.kernels.choice import on_kernels
from librehps.models.librehps.config import ModelConfig
from librehps.models.librehps.heads import HeadOutput, MultiAxisHead, ScalarHead, run_heads
from librehps.models.librehps.positions import Grid
from librehps.models.librehps.recompute import RecomputedLayer
from librehps.models.librehps.text import TextModel
from librehps.models.librehps.vision_tower import VisionTower
from librehps.types import AXES


@dataclass(frozen=True)
class ModelInputs:
    """The network's input for a batch, right-padded, with P patches and V vision tokens in all.

    input_ids (batch, length); position_ids (3, batch, length); patches (P, 1536) normalised pixels;
    grids of the distinct pixels in patches, plain numbers; vision_index (V,) indices of vision
    tokens in the flattened batch; last (batch,) index of each row's reward token; rows (U, hidden)
    that input_ids index, None if they index the model's own embedding; shared (V,) indices of the
    items' vision tokens in the vision tower's output, None if no two items share their pixels.
    """

    input_ids: Tensor
    position_ids: Tensor
    patches: Tensor
    grids: tuple[Grid, ...]
    vision_index: Tensor
    last: Tensor
    rows: Tensor | None = None
    shared: Tensor | None = None


class Backbone(nn.Module):
    """The Qwen3.5 network without `lm_head`: vision tower and text model."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.visual = VisionTower(config.vision_config)
        self.language_model = TextModel(config.text_config)

    def set_attn_implementation(self, name: str) -> None:
        """Choose the attention backend, by its name in `transformers`; raises ImportError."""
        check_backend(name)
        for config in (self.config.text_config, self.config.vision_config):
            config._attn_implementation = name

    def recompute_activations(self) -> None:
        """Recompute the layers' activations in the backward pass, instead of keeping them."""
        for module in self.modules():
            if isinstance(module, RecomputedLayer):
                module.recompute = True


class RewardModel(nn.Module):
    """The network: scores from token ids and patches; parameter names as published.

    `uses_kernels`: its layers run on the kernels of Triton.
    """

    uses_kernels = False

    def __init__(self, config: ModelConfig, attention: str, axes: int = len(AXES)) -> None:
        super().__init__()
        self.model = Backbone(config)
        self.model.set_attn_implementation(attention)
        hidden = config.text_config.hidden_size
        self.multi_axis_head = MultiAxisHead(hidden, axes)
        self.scalar_head = ScalarHead(hidden)

    def vision_tokens(self, batch: ModelInputs) -> Tensor:
        """Return the vision tokens of the batch's items, (V, hidden)."""
        tokens: Tensor = self.model.visual(batch.patches, batch.grids)
        return tokens if batch.shared is None else tokens[batch.shared]

    def hidden_states(self, batch: ModelInputs, vision: Tensor) -> Tensor:
        """Return the hidden states after the final norm, (batch, length, hidden)."""
        embeds = self._embedded(batch, vision)
        hidden: Tensor = self.model.language_model(embeds, batch.position_ids)
        return hidden

    def reward_states(self, batch: ModelInputs) -> Tensor:
        """Return the hidden state of each row's reward token, (batch, hidden), for the heads."""
        embeds = self._embedded(batch, self.vision_tokens(batch))
        return self.model.language_model.states_at(embeds, batch.position_ids, batch.last)

    def _embedded(self, batch: ModelInputs, vision: Tensor) -> Tensor:
        """Return the embeddings of the streams with vision tokens, (batch, length, hidden)."""
        if batch.rows is None:
            embeds = self.model.language_model.embed_tokens(batch.input_ids)
        else:
            embeds = F.embedding(batch.input_ids, batch.rows)
        flat = embeds.flatten(0, 1).index_copy(0, batch.vision_index, vision.to(embeds.dtype))
        placed: Tensor = flat.view_as(embeds)
        return placed

    def forward(self, batch: ModelInputs) -> HeadOutput:
        with on_kernels(self.uses_kernels):
            states = self.reward_states(batch)
        return run_heads(self.multi_axis_head, self.scalar_head, states)
