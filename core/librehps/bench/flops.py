"""Floating-point operations of one item's forward, by part; a multiply-add counts as 2.

Matrix products, attention and the short convolution are counted. Norms, activations, softmax and
rotations are not: they are a few per cent of the operations. Causal attention counts as full
attention. `lm_head` never runs.
"""

from dataclasses import asdict, dataclass

from librehps.models.librehps.config import FULL, ModelConfig, TextConfig, VisionConfig
from librehps.models.librehps.gated_delta_net import CHUNK
from librehps.types import AXES

# Width of the two hidden layers of the multi-axis head.
HEAD_WIDTHS = (1024, 16)


@dataclass(frozen=True)
class Flops:
    """Floating-point operations of one item, by part."""

    patch_embedding: int
    vision_linear: int
    vision_attention: int
    merger: int
    text_projections: int
    text_mlp: int
    full_attention: int
    delta_rule: int
    heads: int

    @property
    def total(self) -> int:
        return sum(asdict(self).values())


def count(config: ModelConfig, grid: tuple[int, int, int], tokens: int) -> Flops:
    """Return the FLOPs of an item, from its patches and its number of text-model tokens.

    `grid`: patches in (time steps, rows, columns).
    """
    vision, text = config.vision_config, config.text_config
    steps, area = grid[0], grid[1] * grid[2]
    patches, full = steps * area, text.layer_types.count(FULL)
    linear = text.num_hidden_layers - full
    return Flops(
        patch_embedding=product(patches, _patch_values(vision), vision.hidden_size),
        vision_linear=vision.depth * _vision_linear(vision, patches),
        # Frames do not see each other.
        vision_attention=vision.depth * steps * _square(area, vision.hidden_size),
        merger=_merger(vision, patches),
        text_projections=full * _attention_projections(text, tokens)
        + linear * _delta_projections(text, tokens),
        text_mlp=text.num_hidden_layers
        * product(tokens, text.hidden_size, 3 * text.intermediate_size),
        full_attention=full * _square(tokens, text.num_attention_heads * text.head_dim),
        delta_rule=linear * _delta_rule(text, tokens),
        heads=_heads(text.hidden_size),
    )


def product(rows: int, inner: int, columns: int) -> int:
    """Return the FLOPs of the matrix product (rows, inner) x (inner, columns)."""
    return 2 * rows * inner * columns


def _patch_values(vision: VisionConfig) -> int:
    return vision.in_channels * vision.temporal_patch_size * vision.patch_size**2


def _vision_linear(vision: VisionConfig, patches: int) -> int:
    """Return the FLOPs of query, key, value and output, and of the two MLP layers."""
    hidden = vision.hidden_size
    return product(patches, hidden, 4 * hidden + 2 * vision.intermediate_size)


def _square(length: int, width: int) -> int:
    """Return the FLOPs of attention over `length` tokens; `width` is the total of all heads."""
    return 2 * product(length, length, width)


def _merger(vision: VisionConfig, patches: int) -> int:
    block = vision.spatial_merge_size**2
    wide = block * vision.hidden_size
    return product(patches // block, wide, wide + vision.out_hidden_size)


def _attention_projections(text: TextConfig, tokens: int) -> int:
    """Return the FLOPs of query, query gate, key, value and output."""
    query, key = (n * text.head_dim for n in (text.num_attention_heads, text.num_key_value_heads))
    return product(tokens, text.hidden_size, 3 * query + 2 * key)


def _delta_projections(text: TextConfig, tokens: int) -> int:
    """Return the FLOPs of query, key, value, gate, output, decay and beta."""
    keys = text.linear_num_key_heads * text.linear_key_head_dim
    values = text.linear_num_value_heads * text.linear_value_head_dim
    width = 2 * keys + 3 * values + 2 * text.linear_num_value_heads
    return product(tokens, text.hidden_size, width)


def _delta_rule(text: TextConfig, tokens: int) -> int:
    """Return the FLOPs of the delta rule in chunks of C tokens, and of its convolution.

    Each head and chunk takes two (C, C) products of keys, the inverse of one and its product with
    keys and values, the local read, and three products with the (d_k, d_v) state.
    """
    key, value = text.linear_key_head_dim, text.linear_value_head_dim
    inverse = CHUNK**3 // 3
    chunk = (
        product(CHUNK, key, 2 * CHUNK)
        + inverse
        + product(CHUNK, CHUNK, key + value)
        + product(CHUNK, CHUNK, value)
        + 3 * product(CHUNK, key, value)
    )
    keys, values = text.linear_num_key_heads * key, text.linear_num_value_heads * value
    convolution = product(tokens, text.linear_conv_kernel_dim, 2 * keys + values)
    return -(-tokens // CHUNK) * text.linear_num_value_heads * chunk + convolution


def _heads(hidden: int) -> int:
    first, second = HEAD_WIDTHS
    return 2 * (hidden * first + first * second + second * 2 * len(AXES) + hidden)
