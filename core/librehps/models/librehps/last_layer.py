"""The last layer of the text model, computed only for the reward token."""

from typing import Any

import torch
from torch import Tensor

from librehps.models.attention_kernels import eager, sdpa
from librehps.models.librehps.rotary import Rotary, rotate_text


def last_layer(layer: Any, hidden: Tensor, rotary: Rotary, last: Tensor) -> Tensor:
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


def _read(attention: Any, normed: Tensor, rotary: Rotary, rows: Tensor, last: Tensor) -> Tensor:
    """Return the layer's gated attention output for one position per row.

    Keys after that position are padding.
    """
    query, gate = attention.query_and_gate(normed[rows, last])
    cos, sin = (x[rows, last].unsqueeze(1) for x in rotary)
    query = rotate_text(attention.q_norm(query).unsqueeze(2), cos, sin)
    key, value = attention.key_and_value(normed, rotary)
    seen = torch.arange(normed.shape[1], device=last.device) <= last[:, None]
    kernel = eager if attention.config._attn_implementation == "eager" else sdpa
    mixed = kernel(query, key, value, attention.scaling, mask=seen[:, None, None])
    output: Tensor = attention.o_proj(mixed.flatten(1) * gate.sigmoid())
    return output
