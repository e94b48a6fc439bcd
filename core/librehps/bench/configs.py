"""Model sizes to time without a checkpoint: config.json as dicts."""

from typing import Any

from librehps.choices import BenchConfig, check_choice
from librehps.models.locate import EMBEDDED
from librehps.models.weight_files import read_json

_FAMILY = {"architectures": ["LibreHPSRewardModel"], "model_type": "qwen3_5"}
_PATCHES = {
    "num_position_embeddings": 2304,
    "patch_size": 16,
    "spatial_merge_size": 2,
    "temporal_patch_size": 2,
}


def _rope(theta: float, sections: list[int]) -> dict[str, Any]:
    return {
        "rope_type": "default",
        "rope_theta": theta,
        "partial_rotary_factor": 0.25,
        "mrope_section": sections,
        "mrope_interleaved": True,
    }


# The published checkpoint's dimensions.
_4B = {
    **_FAMILY,
    "tie_word_embeddings": True,
    "text_config": {
        "model_type": "qwen3_5_text",
        "vocab_size": 248_320,
        "hidden_size": 2560,
        "intermediate_size": 9216,
        "num_hidden_layers": 32,
        "num_attention_heads": 16,
        "num_key_value_heads": 4,
        "head_dim": 256,
        "linear_num_key_heads": 16,
        "linear_num_value_heads": 32,
        "linear_key_head_dim": 128,
        "linear_value_head_dim": 128,
        "linear_conv_kernel_dim": 4,
        "full_attention_interval": 4,
        "tie_word_embeddings": True,
        "rope_parameters": _rope(1e7, [11, 11, 10]),
    },
    "vision_config": {
        "model_type": "qwen3_5_vision",
        "depth": 24,
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_heads": 16,
        "out_hidden_size": 2560,
        **_PATCHES,
    },
}
# Small enough for a laptop's CPU, large enough that matrix products dominate the time.
_47M = {
    **_FAMILY,
    "tie_word_embeddings": False,
    "text_config": {
        "model_type": "qwen3_5_text",
        "vocab_size": 12_000,
        "hidden_size": 512,
        "intermediate_size": 1536,
        "num_hidden_layers": 8,
        "num_attention_heads": 8,
        "num_key_value_heads": 2,
        "head_dim": 64,
        "linear_num_key_heads": 4,
        "linear_num_value_heads": 8,
        "linear_key_head_dim": 64,
        "linear_value_head_dim": 64,
        "linear_conv_kernel_dim": 4,
        "full_attention_interval": 4,
        "rope_parameters": _rope(1e4, [4, 2, 2]),
    },
    "vision_config": {
        "model_type": "qwen3_5_vision",
        "depth": 6,
        "hidden_size": 256,
        "intermediate_size": 1024,
        "num_heads": 4,
        "out_hidden_size": 512,
        **_PATCHES,
    },
}


def config_of(name: str) -> dict[str, Any]:
    """Return the config.json of a model size; raises UsageError for an unknown name."""
    check_choice(name, BenchConfig, "config")
    return {"4b": _4B, "47m": _47M}.get(name) or read_json(EMBEDDED / "config.json")
