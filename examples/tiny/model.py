"""Build LibreHPS-Tiny before training: tokenizer, configuration, random weights."""

import random
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch.nn import LayerNorm

import scenes
from librehps.models.librehps.backbone import RewardModel
from librehps.models.librehps.checkpoint import empty_model
from librehps.models.librehps.gated_delta_net import GatedRMSNorm
from librehps.models.librehps.tokens import CONTROLS

NAME = "LibreHPS-Tiny"
SIDE, FRAMES = 128, 4
EXTRA_TEXT = ["a photo of", "an image with", "the scene", "and", "on", "in", "with"]


def build_tokenizer(folder: Path) -> int:
    """Write a byte-level BPE tokenizer learnt from captions; gives the vocabulary's size."""
    rng = random.Random(0)
    captions = [scenes.random_caption(rng, at % 4 == 0).text for at in range(20_000)] + EXTRA_TEXT
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([*captions, "user\nassistant\n"], trainer)
    tokenizer.add_special_tokens(["<|endoftext|>", *CONTROLS])
    tokenizer.save(str(folder / "tokenizer.json"))
    size: int = tokenizer.get_vocab_size()
    return size


def model_config(folder: Path, vocabulary: int) -> dict[str, object]:
    """About two million parameters, both kinds of layer."""
    ids = Tokenizer.from_file(str(folder / "tokenizer.json")).token_to_id
    text = {
        "model_type": "qwen3_5_text",
        "vocab_size": vocabulary,
        "hidden_size": 128,
        "intermediate_size": 384,
        "num_hidden_layers": 4,
        "layer_types": ["linear_attention", "full_attention"] * 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 32,
        "linear_num_key_heads": 2,
        "linear_num_value_heads": 4,
        "linear_key_head_dim": 32,
        "linear_value_head_dim": 32,
        "linear_conv_kernel_dim": 4,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-6,
        "max_position_embeddings": 4096,
        "tie_word_embeddings": True,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 10000.0,
            "partial_rotary_factor": 0.5,
            "mrope_section": [4, 2, 2],
            "mrope_interleaved": True,
        },
    }
    vision = {
        "model_type": "qwen3_5",
        "depth": 4,
        "hidden_size": 128,
        "intermediate_size": 256,
        "num_heads": 4,
        "out_hidden_size": 128,
        "num_position_embeddings": 64,
        "patch_size": 16,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
        "hidden_act": "gelu_pytorch_tanh",
        "in_channels": 3,
    }
    return {
        "architectures": ["LibreHPSRewardModel"],
        "model_type": "qwen3_5",
        "dtype": "bfloat16",
        "tie_word_embeddings": True,
        "image_token_id": ids("<|image_pad|>"),
        "video_token_id": ids("<|video_pad|>"),
        "vision_start_token_id": ids("<|vision_start|>"),
        "vision_end_token_id": ids("<|vision_end|>"),
        "text_config": text,
        "vision_config": vision,
        "librehps": {"name": NAME, "pixel_budget": SIDE * SIDE, "num_frames": FRAMES},
    }


def fresh_model(config: dict[str, object], seed: int) -> RewardModel:
    """Random weights: normal with 1 / sqrt(fan in); norms and gates as the architecture says."""
    torch.manual_seed(seed)
    model = empty_model(config, "sdpa").to_empty(device="cpu").float()
    for name, parameter in model.named_parameters():
        owner = model.get_submodule(name.rpartition(".")[0])
        if parameter.ndim >= 2:
            fan_in = parameter[0].numel()
            # Positions start as loud as patches: left and right are learnt from nothing else.
            std = {"embed_tokens": 0.02, "pos_embed": 0.5}.get(name.split(".")[-2], fan_in**-0.5)
            torch.nn.init.normal_(parameter, std=std)
        elif name.endswith("A_log"):
            parameter.data.uniform_(0.01, 4).log_()
        elif name.endswith("dt_bias") or (
            isinstance(owner, LayerNorm | GatedRMSNorm) and name.endswith("weight")
        ):
            parameter.data.fill_(1.0)
        else:
            # Biases, and the norms whose scale is 1 + weight.
            parameter.data.zero_()
    return model
