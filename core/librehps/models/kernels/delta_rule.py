"""The gated delta rule in two kernels: the inverses of all chunks, and the states of a head.

Chunked form: Yang et al., "Gated Delta Networks", arXiv 2412.06464, section 3.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from librehps.models.kernels.launch import launch, power_of_two, with_rows

CHUNK, INVERSE_BLOCK = 64, 16
# Rows and columns of a matrix product are at least as many.
LEAST_SIDE = 16
VALUE_COLUMNS = 64
EPS = 1e-6


def delta_rule(query: Tensor, key: Tensor, value: Tensor, decay: Tensor, beta: Tensor) -> Tensor:
    """Return the output of the gated delta rule, (batch, length, value heads, d_v).

    Arguments as `chunked_delta_rule` takes them, in bfloat16 or float16, decay in float32. Sums are
    in float32, and are rounded to 11 or 16 bits before they are multiplied again.
    """
    batch, length, heads, width = value.shape
    query, key, value = with_rows(query), with_rows(key), with_rows(value)
    decay, beta = decay.contiguous(), beta.contiguous()
    chunks = -(-length // CHUNK)
    solve = value.new_empty(batch, chunks, heads, CHUNK, CHUNK, dtype=torch.float32)
    out = value.new_empty(batch, length, heads, width)
    sizes = (length, heads, heads // key.shape[2], key.shape[3])
    shape = {"KEYS": max(LEAST_SIDE, power_of_two(key.shape[3])), "CHUNK": CHUNK}
    launch(
        _inverses,
        (chunks, heads, batch),
        *(key, decay, beta, solve, *sizes, EPS, *key.stride()[:3]),
        BLOCK=INVERSE_BLOCK,
        **shape,
    )
    columns = min(VALUE_COLUMNS, max(LEAST_SIDE, power_of_two(width)))
    strides = (stride for x in (query, key, value) for stride in x.stride()[:3])
    launch(
        _reads,
        (-(-width // columns), heads, batch),
        *(query, key, value, decay, beta, solve, out),
        *(*sizes, width, key.shape[3] ** -0.5, EPS, *strides),
        VALUES=columns,
        num_stages=1,
        **shape,
    )
    return out


@triton.jit(do_not_specialize=["length"])
def _inverses(
    key,
    decay,
    beta,
    solve,
    length,
    heads,
    repeat,
    key_width,
    eps,
    key_batch,
    key_step,
    key_head,
    KEYS: tl.constexpr,
    CHUNK: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Store the inverse of each chunk's triangular matrix, (batch, chunks, heads, CHUNK, CHUNK)."""
    head, batch = tl.program_id(1), tl.program_id(2).to(tl.int64)
    row, part = tl.arange(0, CHUNK), tl.arange(0, KEYS)
    step = (tl.program_id(0) * CHUNK + row).to(tl.int64)
    is_in = step < length
    at = (batch * length + step) * heads + head
    key += batch * key_batch + (head // repeat) * key_head
    is_key = is_in[:, None] & (part < key_width)[None, :]
    keys = tl.load(key + step[:, None] * key_step + part[None, :], mask=is_key, other=0.0)
    wide = keys.to(tl.float32)
    unit = tl.rsqrt(tl.sum(wide * wide, 1) + eps)
    log_decay = tl.cumsum(tl.load(decay + at, mask=is_in, other=0.0), 0)
    strength = tl.load(beta + at, mask=is_in, other=0.0).to(tl.float32)
    alike = tl.dot(keys, tl.trans(keys), input_precision="tf32")
    is_before = row[:, None] > row[None, :]
    gap = tl.where(is_before, log_decay[:, None] - log_decay[None, :], -float("inf"))
    strict = alike * tl.exp(gap) * unit[None, :] * (unit * strength)[:, None]
    inverse = _unit_lower_inverse(strict, CHUNK, BLOCK)
    chunk = (batch * tl.num_programs(0) + tl.program_id(0)) * heads + head
    place = chunk * CHUNK * CHUNK + row[:, None] * CHUNK + row[None, :]
    tl.store(solve + place, inverse)


@triton.jit(do_not_specialize=["length"])
def _reads(
    query,
    key,
    value,
    decay,
    beta,
    solve,
    out,
    length,
    heads,
    repeat,
    key_width,
    value_width,
    scale,
    eps,
    query_batch,
    query_step,
    query_head,
    key_batch,
    key_step,
    key_head,
    value_batch,
    value_step,
    value_head,
    KEYS: tl.constexpr,
    VALUES: tl.constexpr,
    CHUNK: tl.constexpr,
):
    """Store the output of some columns of a head, chunk after chunk."""
    head, batch = tl.program_id(1), tl.program_id(2).to(tl.int64)
    row = tl.arange(0, CHUNK)
    part = tl.arange(0, KEYS)
    column = tl.program_id(0) * VALUES + tl.arange(0, VALUES)
    query += batch * query_batch + (head // repeat) * query_head
    key += batch * key_batch + (head // repeat) * key_head
    value += batch * value_batch + head * value_head
    start = batch * length * heads + head
    chunks = tl.cdiv(length, CHUNK)
    solve += (batch * chunks * heads + head) * CHUNK * CHUNK
    inside = row[:, None] * CHUNK + row[None, :]
    is_past = row[:, None] >= row[None, :]
    state = tl.zeros((KEYS, VALUES), tl.float32)
    for chunk in range(0, chunks):
        step = (chunk * CHUNK + row).to(tl.int64)
        is_in = step < length
        is_key = is_in[:, None] & (part < key_width)[None, :]
        is_value = is_in[:, None] & (column < value_width)[None, :]
        at = step * heads
        log_decay = tl.cumsum(tl.load(decay + start + at, mask=is_in, other=0.0), 0)
        strength = tl.load(beta + start + at, mask=is_in, other=0.0).to(tl.float32)
        keys = tl.load(key + step[:, None] * key_step + part[None, :], mask=is_key, other=0.0)
        wide = keys.to(tl.float32)
        key_unit = tl.rsqrt(tl.sum(wide * wide, 1) + eps)
        since = tl.exp(log_decay)

        old = _wide_product(keys, state) * (key_unit * since)[:, None]
        seen = tl.load(
            value + step[:, None] * value_step + column[None, :], mask=is_value, other=0.0
        )
        change = (seen.to(tl.float32) - old) * strength[:, None]
        change = tl.dot(tl.load(solve + inside), change, input_precision="tf32")

        asks = tl.load(query + step[:, None] * query_step + part[None, :], mask=is_key, other=0.0)
        wide = asks.to(tl.float32)
        ask_unit = tl.rsqrt(tl.sum(wide * wide, 1) + eps) * scale
        read = _wide_product(asks, state) * (ask_unit * since)[:, None]
        local = tl.dot(asks, tl.trans(keys), input_precision="tf32")
        gap = tl.where(is_past, log_decay[:, None] - log_decay[None, :], -float("inf"))
        local *= tl.exp(gap) * key_unit[None, :] * ask_unit[:, None]
        read += tl.dot(local, change, input_precision="tf32")
        place = out + (start + at)[:, None] * value_width + column[None, :]
        tl.store(place, read.to(out.dtype.element_ty), mask=is_value)

        last = tl.sum(tl.where(row == CHUNK - 1, log_decay, 0.0), 0)
        kept = change * (tl.exp(last - log_decay) * key_unit)[:, None]
        state = state * tl.exp(last)
        state += _wide_product(tl.trans(keys), kept)
        solve += heads * CHUNK * CHUNK


@triton.jit
def _wide_product(narrow, wide):
    """Return the product of a matrix as it was loaded and one in float32."""
    if narrow.dtype == tl.bfloat16:
        # Two products of half the width keep 16 bits of `wide`.
        high = wide.to(tl.bfloat16)
        low = (wide - high.to(tl.float32)).to(tl.bfloat16)
        return tl.dot(narrow, low, acc=tl.dot(narrow, high))
    return tl.dot(narrow.to(tl.float32), wide, input_precision="tf32")


@triton.jit
def _unit_lower_inverse(strict, SIZE: tl.constexpr, BLOCK: tl.constexpr):
    """Return the inverse of I + strict, (SIZE, SIZE), for a strictly lower triangular `strict`.

    Blocks on the diagonal are inverted row by row, which stays exact for nearly equal keys. With
    them, what is left is I - M with M^4 = 0, whose inverse is (I + M)(I + M^2).
    """
    COUNT: tl.constexpr = SIZE // BLOCK
    tl.static_assert(COUNT == 4)
    block = tl.arange(0, COUNT)
    is_own = block[:, None, None, None] == block[None, None, :, None]
    parts = tl.reshape(strict, (COUNT, BLOCK, COUNT, BLOCK))
    own = -tl.sum(tl.where(is_own, parts, 0.0), 2)
    row = tl.arange(0, BLOCK)[None, :, None]
    inverse = tl.zeros((COUNT, BLOCK, BLOCK), tl.float32)
    for at in tl.static_range(1, BLOCK):
        now = tl.sum(tl.where(row == at, own, 0.0), 1)
        now += tl.sum(now[:, :, None] * inverse, 1)
        inverse = tl.where(row == at, now[:, None, :], inverse)
    inverse += (row == tl.arange(0, BLOCK)[None, None, :]).to(tl.float32)
    diagonal = tl.reshape(tl.where(is_own, inverse[:, :, None, :], 0.0), (SIZE, SIZE))
    outer = tl.reshape(tl.where(is_own, 0.0, parts), (SIZE, SIZE))
    side = tl.arange(0, SIZE)
    eye = (side[:, None] == side[None, :]).to(tl.float32)
    left = -tl.dot(diagonal, outer, input_precision="tf32")
    square = tl.dot(left, left, input_precision="tf32")
    joint = tl.dot(eye + left, eye + square, input_precision="tf32")
    return tl.dot(joint, diagonal, input_precision="tf32")
