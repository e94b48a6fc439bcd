"""Gated DeltaNet, the backbone's linear attention, with the kernel chosen by device.

Recurrence and chunked form: Yang et al., "Gated Delta Networks", arXiv 2412.06464, section 3.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from librehps.models.kernels.choice import current_kernels
from librehps.models.librehps.activations import ACTIVATIONS
from librehps.models.librehps.config import TextConfig

CHUNK = 64
INVERSE_BASE = 16

# Query, key, value, decay and beta, as `chunked_delta_rule` takes them.
RuleInputs = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]


class GatedDeltaNet(nn.Module):
    """A causal linear-attention layer without cache; (batch, length, hidden) in and out."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.key_heads: int = config.linear_num_key_heads
        self.value_heads: int = config.linear_num_value_heads
        self.key_dim: int = config.linear_key_head_dim
        self.value_dim: int = config.linear_value_head_dim
        keys, values = self.key_heads * self.key_dim, self.value_heads * self.value_dim
        self.widths = [keys, keys, values]
        channels, hidden = 2 * keys + values, config.hidden_size
        kernel: int = config.linear_conv_kernel_dim
        self.conv1d = nn.Conv1d(channels, channels, kernel, groups=channels, bias=False)
        self.activation = ACTIVATIONS[config.hidden_act]
        self.dt_bias = nn.Parameter(torch.ones(self.value_heads))
        self.A_log = nn.Parameter(torch.zeros(self.value_heads))
        self.norm = GatedRMSNorm(self.value_dim, config.rms_norm_eps)
        self.in_proj_qkv = nn.Linear(hidden, channels, bias=False)
        self.in_proj_z = nn.Linear(hidden, values, bias=False)
        self.in_proj_b = nn.Linear(hidden, self.value_heads, bias=False)
        self.in_proj_a = nn.Linear(hidden, self.value_heads, bias=False)
        self.out_proj = nn.Linear(values, hidden, bias=False)

    def forward(self, hidden: Tensor) -> Tensor:
        rule = delta_rule(hidden)
        return self.finish(rule(*self.rule_inputs(hidden)), hidden)

    def rule_inputs(self, hidden: Tensor) -> RuleInputs:
        """Return query, key, value, decay and beta of the delta rule."""
        kernels = current_kernels()
        mixed, taps = self.in_proj_qkv(hidden), self.conv1d.weight.squeeze(1)
        if kernels is not None and self.activation is F.silu:
            mixed = kernels.silu_conv(mixed, taps)
        else:
            mixed = self.activation(shifted_conv(mixed, taps))
        query, key, value = mixed.split(self.widths, dim=-1)
        query = query.unflatten(-1, (self.key_heads, self.key_dim))
        key = key.unflatten(-1, (self.key_heads, self.key_dim))
        value = value.unflatten(-1, (self.value_heads, self.value_dim))
        step, strength = self.in_proj_a(hidden), self.in_proj_b(hidden)
        if kernels is not None:
            gates = kernels.decay_and_beta(step, strength, self.A_log, self.dt_bias)
            return query, key, value, *gates
        # In float32: exp(A_log) overflows half precision.
        step = F.softplus(step.float() + self.dt_bias.float())
        decay = -self.A_log.float().exp() * step
        return query, key, value, decay, strength.sigmoid()

    def finish(self, read: Tensor, hidden: Tensor) -> Tensor:
        """Return the layer's output from the delta rule's output and the layer's input."""
        gate = self.in_proj_z(hidden).unflatten(-1, (self.value_heads, self.value_dim))
        output: Tensor = self.out_proj(self.norm(read, gate).flatten(-2))
        return output


class GatedRMSNorm(nn.Module):
    """An RMS norm over the last axis, multiplied by silu(gate)."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, hidden: Tensor, gate: Tensor) -> Tensor:
        if (kernels := current_kernels()) is not None:
            gated: Tensor = kernels.gated_rms_norm(hidden, gate, self.weight, self.eps)
            return gated
        dtype = hidden.dtype
        hidden = hidden.float()
        hidden = hidden * torch.rsqrt(hidden.square().mean(-1, keepdim=True) + self.eps)
        return (self.weight * hidden.to(dtype) * F.silu(gate.float())).to(dtype)


def delta_rule(hidden: Tensor) -> Callable[..., Tensor]:
    """Return the kernel of the delta rule for a layer's input; plain for float32, to be exact."""
    if hidden.dtype == torch.float32 or current_kernels() is None:
        return chunked_delta_rule
    from librehps.models.kernels.delta_rule import delta_rule as kernel

    return kernel


def shifted_conv(hidden: Tensor, weight: Tensor) -> Tensor:
    """Return the causal depthwise convolution of (batch, length, channels) by (channels, kernel).

    Computed as shifted multiply-adds: a grouped `conv1d` is several times slower on a CPU.
    """
    taps = weight.shape[1]
    padded = F.pad(hidden, (0, 0, taps - 1, 0))
    length = hidden.shape[1]
    out = padded[:, taps - 1 :] * weight[:, taps - 1]
    for tap in range(taps - 1):
        out.addcmul_(padded[:, tap : tap + length], weight[:, tap])
    return out


def chunked_delta_rule(
    query: Tensor, key: Tensor, value: Tensor, decay: Tensor, beta: Tensor
) -> Tensor:
    """Return the output of the gated delta rule, (batch, length, value heads, d_v).

    Computed in float32, chunk by chunk. query, key (batch, length, key heads, d_k); value (batch,
    length, value heads, d_v); decay (log, at most 0) and beta (batch, length, value heads).
    """
    terms = delta_terms(*(in_chunks(x) for x in (query, key, value, decay, beta)))
    return scan(terms, value.shape[1]).to(value.dtype)


def in_chunks(x: Tensor) -> Tensor:
    """Return (batch, length, ...) as (batch, chunks, CHUNK, ...), padded with zeros."""
    end = (0, 0) * (x.ndim - 2) + (0, -x.shape[1] % CHUNK)
    chunks: Tensor = F.pad(x, end).unflatten(1, (-1, CHUNK))
    return chunks


class DeltaTerms(NamedTuple):
    """The delta rule's terms within each chunk, before the chunks are joined; all float32.

    Shapes (batch, key heads, value heads per key head, chunks, CHUNK, CHUNK or d), the head axis 1
    where the value heads of a key head share a term. `strict` is strictly lower triangular.
    """

    strict: Tensor
    value: Tensor
    key: Tensor
    local: Tensor
    query: Tensor
    key_to_end: Tensor
    decay: Tensor


def delta_terms(
    query: Tensor, key: Tensor, value: Tensor, decay: Tensor, beta: Tensor
) -> DeltaTerms:
    """Return the terms that need no other chunk, from inputs in chunks, see `in_chunks`."""
    heads = key.shape[3]
    # Products of keys and queries are computed once for all value heads of a key head.
    query = _by_head(_unit(query, query.shape[-1] ** -0.5)).unsqueeze(2)
    key = _by_head(_unit(key)).unsqueeze(2)
    value, decay, beta = (
        _by_head(x.float()).unflatten(1, (heads, -1))
        for x in (value, decay.unsqueeze(-1), beta.unsqueeze(-1))
    )

    log_decay = decay.cumsum(-2)
    gap = log_decay - log_decay.transpose(-1, -2)
    future = torch.ones(CHUNK, CHUNK, dtype=torch.bool, device=gap.device).triu(1)
    pairwise = gap.masked_fill_(future, float("-inf")).exp_()
    since_start = log_decay.exp()
    return DeltaTerms(
        strict=(key @ key.transpose(-1, -2) * pairwise).mul_(beta).tril_(-1),
        value=value * beta,
        key=key * (beta * since_start),
        local=query @ key.transpose(-1, -2) * pairwise,
        query=query * since_start,
        key_to_end=(key * (log_decay[..., -1:, :] - log_decay).exp()).transpose(-1, -2),
        decay=since_start[..., -1:, :],
    )


def scan(terms: DeltaTerms, length: int) -> Tensor:
    """Return the delta rule's output, (batch, length, value heads, d_v), chunk after chunk."""
    solve = unit_lower_inverse(terms.strict)
    new_value, old_read = solve @ terms.value, solve @ terms.key
    state = new_value.new_zeros(*new_value.shape[:3], terms.key.shape[-1], new_value.shape[-1])
    reads = []
    for i in range(new_value.shape[3]):
        delta = new_value[:, :, :, i] - old_read[:, :, :, i] @ state
        reads.append(terms.query[:, :, :, i] @ state + terms.local[:, :, :, i] @ delta)
        state = state * terms.decay[:, :, :, i] + terms.key_to_end[:, :, :, i] @ delta
    return torch.cat(reads, 3)[:, :, :, :length].flatten(1, 2).transpose(1, 2)


def unit_lower_inverse(strict: Tensor) -> Tensor:
    """Return the inverse of I + strict, for a strictly lower triangular strict (..., n, n).

    Both halves are inverted and joined by one product; blocks of INVERSE_BASE are inverted by
    forward substitution, which stays exact for nearly equal keys, unlike a Neumann series.
    """
    size = strict.shape[-1]
    if size <= INVERSE_BASE:
        eye = torch.eye(size, dtype=strict.dtype, device=strict.device)
        inverse: Tensor = torch.linalg.solve_triangular(
            strict + eye, eye, upper=False, unitriangular=True
        )
        return inverse
    half = size // 2
    diagonal = torch.stack([strict[..., :half, :half], strict[..., half:, half:]])
    first, second = unit_lower_inverse(diagonal)
    joint = -(second @ strict[..., half:, :half] @ first)
    top = torch.cat([first, torch.zeros_like(joint)], -1)
    return torch.cat([top, torch.cat([joint, second], -1)], -2)


def _unit(x: Tensor, length: float = 1.0) -> Tensor:
    """Return the vectors along the last axis scaled to `length`, in float32."""
    x = x.float()
    return x * (torch.rsqrt(x.square().sum(-1, keepdim=True) + 1e-6) * length)


def _by_head(x: Tensor) -> Tensor:
    """Return (batch, chunks, CHUNK, heads, d) as (batch, heads, chunks, CHUNK, d)."""
    return x.permute(0, 3, 1, 2, 4).contiguous()
