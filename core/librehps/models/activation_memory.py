"""Memory that a forward takes besides the weights, from the sizes of a network."""

from dataclasses import dataclass

import torch

FLOAT_BYTES = 4
# The chunked delta rule pads streams to whole chunks.
CHUNK_TOKENS = 64


@dataclass(frozen=True)
class DeltaWidths:
    """The heads of linear attention: numbers of key and value heads, and their sizes."""

    key_heads: int
    key_dim: int
    value_heads: int
    value_dim: int


@dataclass(frozen=True)
class Widths:
    """The numbers of values per patch and per token in the widest tensors of a forward.

    `queries`: of all heads of full attention; `learned`: tables of patch positions read per patch.
    """

    patch_values: int
    vision_hidden: int
    vision_mlp: int
    hidden: int
    mlp: int
    queries: int
    learned: int = 0
    delta: DeltaWidths | None = None


@dataclass(frozen=True)
class ItemSize:
    """The size of an item: patches, and tokens with those of the patches."""

    patches: int
    tokens: int


def activation_bytes(widths: Widths, dtype: torch.dtype, item: ItemSize) -> int:
    """Return the bytes of one item at the peak of a forward, by attention without score matrix.

    Counted are the tensors that live at the same time, in three places: while pixels become
    patches, in a block of the vision tower, and in a layer of the text model. A test holds the sum
    to measured peaks.
    """
    patches = item.patches * widths.patch_values * FLOAT_BYTES
    # Each item's patches are copied into the batch; their pixels are bytes.
    unfolding = 2 * patches + patches // FLOAT_BYTES
    return max(
        unfolding, patches + _vision(widths, dtype, item), patches + _text(widths, dtype, item)
    )


def _vision(widths: Widths, dtype: torch.dtype, item: ItemSize) -> int:
    hidden, size = widths.vision_hidden, dtype.itemsize
    values = 4 * hidden + max(2 * widths.vision_mlp, 7 * hidden)
    floats = widths.learned * hidden + 128
    if size < FLOAT_BYTES:
        # Rotated in float32.
        floats += 2 * hidden
    return item.patches * (size * values + FLOAT_BYTES * floats)


def _text(widths: Widths, dtype: torch.dtype, item: ItemSize) -> int:
    hidden, size = widths.hidden, dtype.itemsize
    mlp = 3 * (hidden + widths.mlp)
    attention = 3 * hidden + 7 * widths.queries
    layer = item.tokens * size * max(mlp, attention)
    return layer if widths.delta is None else max(layer, _delta(widths.delta, hidden, size, item))


def _delta(delta: DeltaWidths, hidden: int, size: int, item: ItemSize) -> int:
    """Return the bytes of a layer of linear attention, whose delta rule runs in float32."""
    tokens = -(-item.tokens // CHUNK_TOKENS) * CHUNK_TOKENS
    keys, values = delta.key_heads * delta.key_dim, delta.value_heads * delta.value_dim
    # While (chunk, chunk) matrices are inverted, and while chunk after chunk is read.
    inverting = 6 * CHUNK_TOKENS + delta.value_dim + 3 * delta.key_dim
    reading = 3 * CHUNK_TOKENS + 4 * delta.value_dim + 3 * delta.key_dim
    floats = max(delta.value_heads * inverting, delta.value_heads * reading + 2 * keys)
    inputs = 2 * keys + values + 3 * hidden
    states = 4 * delta.value_heads * delta.key_dim * delta.value_dim
    return tokens * (FLOAT_BYTES * floats + size * inputs) + FLOAT_BYTES * states
