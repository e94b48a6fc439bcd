"""The last layer of the text model, computed only for the reward token."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def last_layer(layer: Any, hidden: Tensor, rotary: tuple[Tensor, Tensor], last: Tensor) -> Tensor:
    """Return the output of `layer` at index `last` (batch,) of each row, (batch, hidden).

    hidden (batch, length, hidden) is the layer's input, rotary (cos, sin) of every position. From
    other tokens only keys and values are computed; linear attention is computed for all tokens.
    """
    rows = torch.arange(len(hidden), device=hidden.device)
    normed = layer.input_layernorm(hidden)
    if hasattr(layer, "self_attn"):
        mixed = _read(layer.self_attn, normed, rotary, rows, last)
    else:
        mixed = layer.linear_attn(normed)[rows, last]
    states: Tensor = hidden[rows, last] + mixed
    output: Tensor = states + layer.mlp(layer.post_attention_layernorm(states))
    return output


def _read(
    attention: Any, normed: Tensor, rotary: tuple[Tensor, Tensor], rows: Tensor, last: Tensor
) -> Tensor:
    """Return the layer's gated attention output for one position per row.

    Keys after that position are padding.
    """
    from transformers.models.qwen3_5.modeling_qwen3_5 import apply_rotary_pos_emb

    width = attention.head_dim
    at = normed[rows, last]
    query, gate = attention.q_proj(at).unflatten(-1, (-1, 2 * width)).chunk(2, -1)
    query = attention.q_norm(query).unsqueeze(2)
    key = attention.k_norm(attention.k_proj(normed).unflatten(-1, (-1, width))).transpose(1, 2)
    value = attention.v_proj(normed).unflatten(-1, (-1, width)).transpose(1, 2)
    cos, sin = rotary
    key, _ = apply_rotary_pos_emb(key, key, cos, sin)
    query, _ = apply_rotary_pos_emb(
        query, query, cos[rows, last][:, None], sin[rows, last][:, None]
    )
    seen = torch.arange(normed.shape[1], device=last.device) <= last[:, None]
    groups = query.shape[1] // key.shape[1]
    key, value = (x.repeat_interleave(groups, 1) for x in (key, value))
    mixed = F.scaled_dot_product_attention(
        query, key, value, attn_mask=seen[:, None, None], scale=attention.scaling
    )
    output: Tensor = attention.o_proj(mixed.flatten(1) * gate.flatten(1).sigmoid())
    return output
