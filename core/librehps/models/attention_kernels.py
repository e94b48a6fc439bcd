"""Attention itself: SDPA and plain products here, flash attention through `transformers`."""

from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

# SDPA's fast kernels repeat keys by themselves up to this head width, and in these dtypes on CUDA;
# elsewhere SDPA would compute all scores at once.
MAX_GROUPED_WIDTH = 256
CUDA_GROUPED_DTYPES = (torch.bfloat16, torch.float16)


class AttentionLayer(Protocol):
    """The attributes of a layer that `attend` reads; `config` stores the backend's name."""

    config: Any
    is_causal: bool
    scaling: float


def attend(
    layer: Any, query: Tensor, key: Tensor, value: Tensor, dropout: float = 0.0, **ragged: Any
) -> Tensor:
    """Return the attention output (batch, length, heads, d), by the backend of `layer.config`.

    query (batch, heads, length, d); key and value may have fewer heads. `ragged`: the lengths of
    items that follow each other in one row, for flash attention.
    """
    attention: AttentionLayer = layer
    name = attention.config._attn_implementation
    if name.startswith("flash"):
        return _flash(layer, query, key, value, dropout, **ragged)
    kernel = eager if name == "eager" else sdpa
    mixed = kernel(
        query, key, value, attention.scaling, causal=attention.is_causal, dropout=dropout
    )
    return mixed.transpose(1, 2)


def sdpa(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    scale: float,
    *,
    mask: Tensor | None = None,
    causal: bool = False,
    dropout: float = 0.0,
) -> Tensor:
    """Return SDPA's output, (batch, heads, length, d); `mask` is True where a query attends."""
    grouped = query.shape[1] != key.shape[1]
    in_kernel = mask is None and _repeats_keys(key)
    if grouped and not in_kernel:
        key, value = (_repeated(x, query.shape[1]) for x in (key, value))
    return F.scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=mask,
        dropout_p=dropout,
        is_causal=causal and query.shape[2] > 1,
        scale=scale,
        enable_gqa=grouped and in_kernel,
    )


def eager(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    scale: float,
    *,
    mask: Tensor | None = None,
    causal: bool = False,
    dropout: float = 0.0,
) -> Tensor:
    """Return the same as `sdpa`, by plain matrix products and a softmax in float32."""
    key, value = (_repeated(x, query.shape[1]) for x in (key, value))
    scores = query @ key.transpose(-1, -2) * scale
    if causal:
        mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
    if mask is not None:
        scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    weights = F.dropout(scores.softmax(-1, dtype=torch.float32).to(query.dtype), dropout)
    return weights @ value


def _repeats_keys(key: Tensor) -> bool:
    """Return whether a fast kernel of SDPA takes fewer heads of keys than of queries."""
    kind = key.device.type
    known = kind == "cpu" or (kind == "cuda" and key.dtype in CUDA_GROUPED_DTYPES)
    return known and key.shape[-1] <= MAX_GROUPED_WIDTH


def check_backend(name: str) -> None:
    """Raise ImportError for a flash backend whose package `transformers` does not find.

    Called without the package, `transformers` would download a binary kernel.
    """
    if name.startswith("flash"):
        from transformers.utils import import_utils

        number = name.removeprefix("flash_attention_")
        is_available = getattr(import_utils, f"is_flash_attn_{number}_available", lambda: False)
        if not is_available():
            raise ImportError(f"transformers finds no package for {name}")


def _flash(
    layer: Any, query: Tensor, key: Tensor, value: Tensor, dropout: float, **ragged: Any
) -> Tensor:
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    backend = ALL_ATTENTION_FUNCTIONS[layer.config._attn_implementation]
    mixed: Tensor = backend(
        layer,
        query,
        key,
        value,
        attention_mask=None,
        scaling=layer.scaling,
        dropout=dropout,
        is_causal=layer.is_causal,
        **ragged,
    )[0]
    return mixed


def _repeated(x: Tensor, heads: int) -> Tensor:
    """Return x (batch, groups, length, d) with each head repeated to `heads` heads."""
    return x if x.shape[1] == heads else x.repeat_interleave(heads // x.shape[1], 1)
