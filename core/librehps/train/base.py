"""The base model of a training run: a LibreHPS checkpoint, or a Qwen3.5 with new heads."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from librehps.choices import TrainedPart
from librehps.engine.decode import Decoder
from librehps.errors import CheckpointError, TrainingError
from librehps.files import write_whole
from librehps.media.videos import VideoReaders
from librehps.models.librehps.backbone import RewardModel
from librehps.models.librehps.checkpoint import Checkpoint, build_model, fingerprint
from librehps.models.librehps.processor import LibreHPSProcessor
from librehps.models.librehps.resize import PIXEL_BUDGET
from librehps.models.librehps.tokens import REWARD, PromptEncoder
from librehps.models.weight_files import read_json
from librehps.train.options import TrainOptions

TOKENIZER_FILE = "tokenizer.json"
# Copied from the base, if present.
COPIED_FILES = (
    "tokenizer_config.json",
    "special_tokens_map.json",
    "preprocessor_config.json",
    "video_preprocessor_config.json",
    "chat_template.jinja",
    "generation_config.json",
)
DEFAULT_FRAMES = 8
# Every linear layer of the text model; the vision tower stays frozen.
LORA_TARGETS = (
    r".*language_model\..*\.(q_proj|k_proj|v_proj|o_proj|in_proj_qkv|in_proj_z|out_proj"
    r"|gate_proj|up_proj|down_proj)"
)


@dataclass(frozen=True)
class Base:
    """The model, with gradients enabled on the part to train, and the decoder of its inputs."""

    checkpoint: Checkpoint
    model: RewardModel
    decoder: Decoder
    device: torch.device
    fingerprint: str


def open_base(folder: Path, output: Path, options: TrainOptions, device: torch.device) -> Base:
    """Load the base model; copies its tokenizer and small files to `output`.

    Raises CheckpointError, TrainingError.
    """
    checkpoint = Checkpoint.open(folder)
    fresh = not checkpoint.has_heads
    for name in (TOKENIZER_FILE, *COPIED_FILES):
        if (folder / name).exists():
            shutil.copyfile(folder / name, output / name)
    # A frozen backbone is loaded in bfloat16 to save memory; adapters are trained in float32.
    whole = options.part == "full" or device.type != "cuda"
    dtype = torch.float32 if whole else torch.bfloat16
    torch.manual_seed(options.seed)
    model = build_model(checkpoint, "sdpa", dtype, device, fresh_heads=fresh)
    if fresh:
        _bind_reward_token(output / TOKENIZER_FILE, model)
    enable_gradients(model, options.part, options.lora_rank)
    if options.gradient_checkpointing:
        model.model.recompute_activations()
    own = checkpoint.own_settings
    encoder = PromptEncoder(output / TOKENIZER_FILE)
    decoder = Decoder(
        LibreHPSProcessor(encoder, own.get("pixel_budget", PIXEL_BUDGET)),
        VideoReaders("auto"),
        options.num_frames or own.get("num_frames", DEFAULT_FRAMES),
        media=options.media,
    )
    return Base(checkpoint, model, decoder, device, fingerprint(checkpoint))


def enable_gradients(model: RewardModel, part: TrainedPart, lora_rank: int) -> None:
    """Enable gradients on the heads, and for `lora` on adapters, for `full` on the backbone."""
    if part == "full":
        model.requires_grad_(True)
    if part == "lora":
        from peft import LoraConfig, inject_adapter_in_model

        config = LoraConfig(r=lora_rank, lora_alpha=2 * lora_rank, target_modules=LORA_TARGETS)
        inject_adapter_in_model(config, model.model)
        for name, parameter in model.named_parameters():
            parameter.requires_grad_("lora_" in name)
            if "lora_" in name:
                parameter.data = parameter.data.float()
    for head in (model.multi_axis_head, model.scalar_head):
        head.requires_grad_(True)


def trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    """Return the parameters that training changes, by name."""
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def _bind_reward_token(tokenizer: Path, model: RewardModel) -> None:
    """Give `<|Reward|>` the next free token id, and as embedding the mean of all embeddings."""
    spec: dict[str, Any] = read_json(tokenizer)
    if any(token["content"] == REWARD for token in spec.get("added_tokens", [])):
        return
    try:
        used = [*spec["model"]["vocab"].values(), *(t["id"] for t in spec["added_tokens"])]
    except (KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{tokenizer}: unsupported tokenizer: cannot add {REWARD}") from error
    weight = model.model.language_model.embed_tokens.weight
    free = max(used) + 1
    if free >= len(weight):
        raise TrainingError(
            f"no free embedding for {REWARD}: all {len(weight)} are used",
            hint="Use a published Qwen3.5, whose embeddings have unused rows.",
        )
    token = {"id": free, "content": REWARD, "special": True}
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    spec["added_tokens"].append({**token, **flags})
    write_whole(tokenizer, json.dumps(spec, ensure_ascii=False))
    with torch.no_grad():
        # Rounded to bfloat16, so that a checkpoint stored in bfloat16 gives the same scores.
        weight[free] = weight[:free].float().mean(0).to(torch.bfloat16)
