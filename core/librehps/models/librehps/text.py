"""The text model of Qwen3.5: decoder layers of linear or of full attention, without a cache."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from librehps.models.attention_kernels import attend
from librehps.models.kernels.choice import current_kernels
from librehps.models.librehps.activations import ACTIVATIONS
from librehps.models.librehps.config import FULL, TextConfig
from librehps.models.librehps.gated_delta_net import GatedDeltaNet
from librehps.models.librehps.last_layer import last_layer
from librehps.models.librehps.recompute import RecomputedLayer
from librehps.models.librehps.rotary import Rotary, rotate_text, text_rotary


class RMSNorm(nn.Module):
    """An RMS norm over the last axis, in float32; its scale is 1 + weight."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(size))
        self.eps = eps

    def forward(self, hidden: Tensor) -> Tensor:
        if (kernels := current_kernels()) is not None:
            normed: Tensor = kernels.rms_norm(hidden, self.weight, self.eps)
            return normed
        wide = hidden.float()
        wide = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.eps)
        return (wide * (1.0 + self.weight.float())).to(hidden.dtype)


class GatedAttention(nn.Module):
    """Causal attention with grouped keys; a sigmoid gate, made by `q_proj`, scales its output."""

    is_causal = True

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.config = config
        self.head_dim = width = config.head_dim
        self.scaling = width**-0.5
        hidden, bias = config.hidden_size, config.attention_bias
        queries, keys = config.num_attention_heads * width, config.num_key_value_heads * width
        self.q_proj = nn.Linear(hidden, 2 * queries, bias=bias)
        self.k_proj = nn.Linear(hidden, keys, bias=bias)
        self.v_proj = nn.Linear(hidden, keys, bias=bias)
        self.o_proj = nn.Linear(queries, hidden, bias=bias)
        self.q_norm = RMSNorm(width, config.rms_norm_eps)
        self.k_norm = RMSNorm(width, config.rms_norm_eps)

    def forward(self, hidden: Tensor, rotary: Rotary) -> Tensor:
        query, key, value, gate = self.inputs(hidden, rotary)
        return self.finish(self.mix(query, key, value), gate)

    def inputs(self, hidden: Tensor, rotary: Rotary) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the rotated query (batch, heads, length, d), key and value, and the gate."""
        query, gate = self.query_and_gate(hidden)
        return _turned(self.q_norm, query, rotary), *self.key_and_value(hidden, rotary), gate

    def mix(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Return the attention output, (batch, length, heads * d)."""
        dropout = self.config.attention_dropout if self.training else 0.0
        return attend(self, query, key, value, dropout).flatten(2)

    def finish(self, mixed: Tensor, gate: Tensor) -> Tensor:
        """Return the layer's output from the gated attention output."""
        output: Tensor = self.o_proj(mixed * gate.sigmoid())
        return output

    def query_and_gate(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Return the query (..., heads, d) before its norm, and the gate (..., heads * d)."""
        query, gate = self.q_proj(hidden).unflatten(-1, (-1, 2 * self.head_dim)).chunk(2, -1)
        return query, gate.flatten(-2)

    def key_and_value(self, hidden: Tensor, rotary: Rotary) -> tuple[Tensor, Tensor]:
        """Return the rotated key and the value, each (batch, groups, length, d)."""
        key = self.k_proj(hidden).unflatten(-1, (-1, self.head_dim))
        value = self.v_proj(hidden).unflatten(-1, (-1, self.head_dim))
        return _turned(self.k_norm, key, rotary), value.transpose(1, 2)


def _turned(norm: RMSNorm, x: Tensor, rotary: Rotary) -> Tensor:
    """Return x (batch, length, heads, d) after its norm, rotated, (batch, heads, length, d)."""
    if (kernels := current_kernels()) is not None:
        turned: Tensor = kernels.normed_and_rotated(x, norm.weight, norm.eps, *rotary)
        return turned
    return rotate_text(norm(x).transpose(1, 2), *rotary)


class GatedMLP(nn.Module):
    """The feed-forward part of a layer: down(act(gate) * up)."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        hidden, width = config.hidden_size, config.intermediate_size
        self.gate_proj = nn.Linear(hidden, width, bias=False)
        self.up_proj = nn.Linear(hidden, width, bias=False)
        self.down_proj = nn.Linear(width, hidden, bias=False)
        self.activation = ACTIVATIONS[config.hidden_act]

    def forward(self, hidden: Tensor) -> Tensor:
        gate, up = self.gate_proj(hidden), self.up_proj(hidden)
        kernels = current_kernels() if self.activation is F.silu else None
        product = (
            up.mul_(self.activation(gate)) if kernels is None else kernels.silu_product(gate, up)
        )
        output: Tensor = self.down_proj(product)
        return output


class DecoderLayer(RecomputedLayer):
    """A layer of the text model: attention, linear or full, and the feed-forward part."""

    def __init__(self, config: TextConfig, kind: str) -> None:
        super().__init__()
        if kind == FULL:
            self.self_attn = GatedAttention(config)
        else:
            self.linear_attn = GatedDeltaNet(config)
        self.mlp = GatedMLP(config)
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)

    def forward(self, hidden: Tensor, rotary: Rotary) -> Tensor:
        normed = self.input_layernorm(hidden)
        if hasattr(self, "self_attn"):
            hidden = hidden + self.self_attn(normed, rotary)
        else:
            hidden = hidden + self.linear_attn(normed)
        output: Tensor = hidden + self.mlp(self.post_attention_layernorm(hidden))
        return output


class TextModel(nn.Module):
    """The text model, from embeddings to the hidden states after the final norm.

    No attention mask is needed: with right padding a causal model never attends to padding before
    the last token.
    """

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.config = config
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers: Any = nn.ModuleList(DecoderLayer(config, kind) for kind in config.layer_types)
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)

    def forward(self, embeds: Tensor, positions: Tensor) -> Tensor:
        """Return (batch, length, hidden) of embeddings and positions (3, batch, length)."""
        rotary = self._rotary(embeds, positions)
        for layer in self.layers:
            embeds = layer(embeds, rotary)
        states: Tensor = self.norm(embeds)
        return states

    def states_at(self, embeds: Tensor, positions: Tensor, last: Tensor) -> Tensor:
        """Return the state at index `last` (batch,) of each row, (batch, hidden).

        Equal to that of `forward`, with less work.
        """
        rotary = self._rotary(embeds, positions)
        *layers, final = self.layers
        for layer in layers:
            embeds = layer(embeds, rotary)
        states: Tensor = self.norm(last_layer(final, embeds, rotary, last))
        return states

    def _rotary(self, embeds: Tensor, positions: Tensor) -> Rotary:
        return text_rotary(positions, self.config.rope, self.config.rotary_dim, embeds.dtype)
