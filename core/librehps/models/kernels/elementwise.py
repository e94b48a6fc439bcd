"""Norms, rotations, gates and the short convolution, each in one pass over memory.

Each rounds where the plain operations round, or less often.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from librehps.models.kernels.launch import launch, power_of_two, with_rows

# Values that one program computes.
BLOCK = 4096
CONV_STEPS, CONV_CHANNELS = 16, 128


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """Return the RMS norm of x over its last axis, times 1 + weight."""
    x = x.contiguous()
    out, size = torch.empty_like(x), x.shape[-1]
    grid = (x.numel() // size,)
    launch(_rms_norm, grid, x, weight, out, size, eps, SIZE=power_of_two(size))
    return out


@triton.jit
def _rms_norm(x, weight, out, size, eps, SIZE: tl.constexpr):
    at = tl.arange(0, SIZE)
    row = tl.program_id(0).to(tl.int64) * size
    wide = tl.load(x + row + at, mask=at < size, other=0.0).to(tl.float32)
    scale = tl.load(weight + at, mask=at < size, other=0.0).to(tl.float32)
    wide = wide * tl.rsqrt(tl.sum(wide * wide, 0) / size + eps)
    tl.store(out + row + at, (wide * (1.0 + scale)).to(out.dtype.element_ty), mask=at < size)


def gated_rms_norm(x: Tensor, gate: Tensor, weight: Tensor, eps: float) -> Tensor:
    """Return the RMS norm of x over its last axis, times weight and silu(gate)."""
    x, gate = x.contiguous(), gate.contiguous()
    out, size = torch.empty_like(x), x.shape[-1]
    width = power_of_two(size)
    rows, step = x.numel() // size, max(1, BLOCK // width)
    shape = {"ROWS": step, "SIZE": width}
    launch(_gated_rms_norm, (-(-rows // step),), x, gate, weight, out, rows, size, eps, **shape)
    return out


@triton.jit
def _gated_rms_norm(x, gate, weight, out, rows, size, eps, ROWS: tl.constexpr, SIZE: tl.constexpr):
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    column = tl.arange(0, SIZE)
    is_in = (row < rows)[:, None] & (column < size)[None, :]
    at = row.to(tl.int64)[:, None] * size + column[None, :]
    kind: tl.constexpr = out.dtype.element_ty
    wide = tl.load(x + at, mask=is_in, other=0.0).to(tl.float32)
    wide = wide * tl.rsqrt(tl.sum(wide * wide, 1) / size + eps)[:, None]
    scale = tl.load(weight + column, mask=column < size, other=0.0).to(tl.float32)
    scaled = (wide.to(kind).to(tl.float32) * scale[None, :]).to(kind).to(tl.float32)
    open_ = tl.load(gate + at, mask=is_in, other=0.0).to(tl.float32)
    tl.store(out + at, (scaled * open_ * tl.sigmoid(open_)).to(kind), mask=is_in)


def normed_and_rotated(x: Tensor, weight: Tensor, eps: float, cos: Tensor, sin: Tensor) -> Tensor:
    """Return x (batch, length, heads, d) normed, its first values rotated, heads before length.

    cos, sin: (batch, length, half of the values that are rotated).
    """
    x = with_rows(x)
    batch, length, heads, width = x.shape
    out = x.new_empty(batch, heads, length, width)
    cos, sin = cos.contiguous(), sin.contiguous()
    sizes = (length, heads, width, cos.shape[-1])
    shape = {"HEADS": power_of_two(heads), "WIDTH": power_of_two(width)}
    strides = x.stride()[:3]
    grid = (batch * length,)
    launch(_normed_and_rotated, grid, x, weight, cos, sin, out, eps, *sizes, *strides, **shape)
    return out


@triton.jit(do_not_specialize=["length"])
def _normed_and_rotated(
    x,
    weight,
    cos,
    sin,
    out,
    eps,
    length,
    heads,
    width,
    half,
    batch_stride,
    step_stride,
    head_stride,
    HEADS: tl.constexpr,
    WIDTH: tl.constexpr,
):
    token = tl.program_id(0).to(tl.int64)
    batch, step = token // length, token % length
    head, column = tl.arange(0, HEADS)[:, None], tl.arange(0, WIDTH)[None, :]
    is_in = (head < heads) & (column < width)
    kind: tl.constexpr = out.dtype.element_ty
    start = x + batch * batch_stride + step * step_stride + head * head_stride
    # The value that each one is rotated with.
    other = tl.where(column < half, column + half, column - half)
    is_turned = column < 2 * half
    mine = tl.load(start + column, mask=is_in, other=0.0).to(tl.float32)
    root = tl.rsqrt(tl.sum(mine * mine, 1) / width + eps)[:, None]
    scale = 1.0 + tl.load(weight + column, mask=column < width, other=0.0).to(tl.float32)
    mine = (mine * root * scale).to(kind).to(tl.float32)
    theirs = tl.load(start + other, mask=is_in & is_turned, other=0.0).to(tl.float32)
    scale = 1.0 + tl.load(weight + other, mask=is_turned, other=0.0).to(tl.float32)
    theirs = (theirs * root * scale).to(kind).to(tl.float32)
    angle = token * half + tl.where(column < half, column, column - half)
    turn = tl.load(cos + angle, mask=is_turned, other=1.0).to(tl.float32)
    lean = tl.load(sin + angle, mask=is_turned, other=0.0).to(tl.float32)
    lean = tl.where(column < half, -lean, lean)
    mine = (mine * turn).to(kind).to(tl.float32) + (theirs * lean).to(kind).to(tl.float32)
    at = ((batch * heads + head) * length + step) * width + column
    tl.store(out + at, mine.to(kind), mask=is_in)


def rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Return x (P, heads, d) rotated in float32; cos, sin: (P, d / 2) in their first values."""
    x, cos, sin = with_rows(x), with_rows(cos), with_rows(sin)
    patches, heads, width = x.shape
    out = x.new_empty(x.shape)
    shape = {"HEADS": power_of_two(heads), "WIDTH": power_of_two(width)}
    steps = (*x.stride()[:2], cos.stride(0), sin.stride(0))
    launch(_rotated, (patches,), x, cos, sin, out, heads, width, *steps, **shape)
    return out


@triton.jit
def _rotated(
    x,
    cos,
    sin,
    out,
    heads,
    width,
    patch_stride,
    head_stride,
    cos_stride,
    sin_stride,
    HEADS: tl.constexpr,
    WIDTH: tl.constexpr,
):
    patch = tl.program_id(0).to(tl.int64)
    head, column = tl.arange(0, HEADS)[:, None], tl.arange(0, WIDTH)[None, :]
    is_in = (head < heads) & (column < width)
    half = width // 2
    is_first = column < half
    other = tl.where(is_first, column + half, column - half)
    angle = tl.where(is_first, column, other)
    start = x + patch * patch_stride + head * head_stride
    mine = tl.load(start + column, mask=is_in, other=0.0).to(tl.float32)
    theirs = tl.load(start + other, mask=is_in, other=0.0).to(tl.float32)
    turn = tl.load(cos + patch * cos_stride + angle, mask=column < width, other=0.0).to(tl.float32)
    lean = tl.load(sin + patch * sin_stride + angle, mask=column < width, other=0.0).to(tl.float32)
    mine = mine * turn + theirs * tl.where(is_first, -lean, lean)
    at = (patch * heads + head) * width + column
    tl.store(out + at, mine.to(out.dtype.element_ty), mask=is_in)


def silu_product(gate: Tensor, up: Tensor) -> Tensor:
    """Return silu(gate) * up, written over `up`."""
    gate, up = gate.contiguous(), up.contiguous()
    size = up.numel()
    launch(_silu_product, (-(-size // BLOCK),), gate, up, size, SIZE=BLOCK)
    return up


@triton.jit
def _silu_product(gate, up, size, SIZE: tl.constexpr):
    at = tl.program_id(0).to(tl.int64) * SIZE + tl.arange(0, SIZE)
    open_ = tl.load(gate + at, mask=at < size, other=0.0).to(tl.float32)
    kind: tl.constexpr = up.dtype.element_ty
    open_ = (open_ * tl.sigmoid(open_)).to(kind).to(tl.float32)
    wide = tl.load(up + at, mask=at < size, other=0.0).to(tl.float32)
    tl.store(up + at, (wide * open_).to(kind), mask=at < size)


def decay_and_beta(
    step: Tensor, strength: Tensor, log_rate: Tensor, bias: Tensor
) -> tuple[Tensor, Tensor]:
    """Return -exp(log_rate) * softplus(step + bias) in float32, and the sigmoid of `strength`.

    step, strength (..., heads); log_rate, bias (heads,).
    """
    step, strength = step.contiguous(), strength.contiguous()
    decay, beta = torch.empty_like(step, dtype=torch.float32), torch.empty_like(strength)
    size, heads = step.numel(), step.shape[-1]
    arguments = (step, strength, log_rate, bias, decay, beta, size, heads)
    launch(_decay_and_beta, (-(-size // BLOCK),), *arguments, SIZE=BLOCK)
    return decay, beta


@triton.jit
def _decay_and_beta(step, strength, log_rate, bias, decay, beta, size, heads, SIZE: tl.constexpr):
    at = tl.program_id(0).to(tl.int64) * SIZE + tl.arange(0, SIZE)
    is_in, head = at < size, at % heads
    x = tl.load(step + at, mask=is_in, other=0.0).to(tl.float32)
    x += tl.load(bias + head).to(tl.float32)
    # softplus, exact for large steps too.
    soft = tl.maximum(x, 0.0) + tl.log(1.0 + tl.exp(-tl.abs(x)))
    rate = tl.exp(tl.load(log_rate + head).to(tl.float32))
    tl.store(decay + at, -rate * soft, mask=is_in)
    y = tl.load(strength + at, mask=is_in, other=0.0).to(tl.float32)
    tl.store(beta + at, tl.sigmoid(y).to(beta.dtype.element_ty), mask=is_in)


def silu_conv(x: Tensor, weight: Tensor) -> Tensor:
    """Return silu of the causal depthwise convolution of (batch, length, channels).

    weight: (channels, taps).
    """
    x, weight = x.contiguous(), weight.contiguous()
    batch, length, channels = x.shape
    out, taps = torch.empty_like(x), weight.shape[1]
    grid = (-(-channels // CONV_CHANNELS), -(-length // CONV_STEPS), batch)
    shape = {"TAPS": taps, "STEPS": CONV_STEPS, "CHANNELS": CONV_CHANNELS}
    launch(_silu_conv, grid, x, weight, out, length, channels, **shape)
    return out


@triton.jit(do_not_specialize=["length"])
def _silu_conv(
    x,
    weight,
    out,
    length,
    channels,
    TAPS: tl.constexpr,
    STEPS: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    channel = tl.program_id(0) * CHANNELS + tl.arange(0, CHANNELS)
    step = tl.program_id(1) * STEPS + tl.arange(0, STEPS)
    start = tl.program_id(2).to(tl.int64) * length * channels
    known = channel < channels
    total = tl.zeros((STEPS, CHANNELS), tl.float32)
    for tap in tl.static_range(TAPS):
        seen = step + (tap - TAPS + 1)
        is_in = ((seen >= 0) & (seen < length))[:, None] & known[None, :]
        at = start + seen.to(tl.int64)[:, None] * channels + channel[None, :]
        scale = tl.load(weight + channel * TAPS + tap, mask=known, other=0.0).to(tl.float32)
        total += tl.load(x + at, mask=is_in, other=0.0).to(tl.float32) * scale[None, :]
    kind: tl.constexpr = out.dtype.element_ty
    total = total.to(kind).to(tl.float32)
    at = start + step.to(tl.int64)[:, None] * channels + channel[None, :]
    is_in = (step < length)[:, None] & known[None, :]
    tl.store(out + at, (total * tl.sigmoid(total)).to(kind), mask=is_in)
