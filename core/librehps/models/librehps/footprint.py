"""The sizes of a LibreHPS network that determine its memory."""

from collections.abc import Mapping
from typing import Any

from librehps.models.activation_memory import DeltaWidths, ItemSize, Widths
from librehps.models.librehps.backbone import RewardModel
from librehps.models.librehps.checkpoint import HEAD_PREFIXES, empty_model
from librehps.models.librehps.config import MERGE, PATCH, STEP_FRAMES, TextConfig, VisionConfig
from librehps.models.librehps.resize import PIXEL_BUDGET
from librehps.models.memory_need import PROMPT_TOKENS, Footprint

# Rows of the table of learned positions that are interpolated for each patch.
CORNERS = 4


def footprint_of(config: Mapping[str, Any]) -> Footprint:
    """Return the sizes of a config.json, with an image of its pixel budget.

    Raises CheckpointError.
    """
    own = config.get("librehps")
    budget = own.get("pixel_budget") if isinstance(own, dict) else None
    return network_footprint(empty_model(config, "sdpa"), budget or PIXEL_BUDGET)


def network_footprint(network: RewardModel, pixel_budget: int) -> Footprint:
    """Return the sizes of a network on the meta device, with an image of `pixel_budget` pixels."""
    sizes = network.model.config
    patches = pixel_budget // PATCH**2
    item = ItemSize(patches, patches // MERGE**2 + PROMPT_TOKENS)
    return Footprint(network, HEAD_PREFIXES, _widths(sizes.text_config, sizes.vision_config), item)


def _widths(text: TextConfig, vision: VisionConfig) -> Widths:
    return Widths(
        patch_values=vision.in_channels * STEP_FRAMES * PATCH**2,
        vision_hidden=vision.hidden_size,
        vision_mlp=vision.intermediate_size,
        hidden=text.hidden_size,
        mlp=text.intermediate_size,
        queries=text.num_attention_heads * text.head_dim,
        learned=CORNERS,
        delta=DeltaWidths(
            text.linear_num_key_heads,
            text.linear_key_head_dim,
            text.linear_num_value_heads,
            text.linear_value_head_dim,
        ),
    )
