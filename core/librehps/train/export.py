"""Export of a trained model in the layout of the published checkpoint."""

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from librehps.errors import TrainingError
from librehps.files import sync, write_whole
from librehps.models.librehps.backbone import RewardModel
from librehps.models.librehps.checkpoint import Checkpoint
from librehps.models.weights import stored_dtype

MAX_FILE_SIZE = "5GB"


def merged_state(model: RewardModel) -> dict[str, tuple[Tensor, bool]]:
    """Return (value, trained) of each parameter by its published name, adapters merged."""
    layers = {n: m for n, m in model.named_modules() if hasattr(m, "get_delta_weight")}
    state = {}
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            continue
        value, trained = parameter.detach(), parameter.requires_grad
        layer = layers.get(name.removesuffix(".base_layer.weight"))
        if layer is not None and name.endswith(".base_layer.weight"):
            value = value.float() + layer.get_delta_weight("default").detach()
            trained = True
        state[name.replace(".base_layer.", ".")] = (value, trained)
    return state


def export(model: RewardModel, base: Checkpoint, folder: Path, frames: int) -> None:
    """Write config.json and weights: trained weights in float32, others in the base's dtype.

    calibration.json of the base is not copied, since it is for other weights.
    """
    from huggingface_hub import save_torch_state_dict

    tensors = {}
    for name, (value, trained) in merged_state(model).items():
        place = None if trained else base.tensors.get(name)
        stored = torch.float32 if place is None else stored_dtype(place)
        tensors[name] = value.to("cpu", stored).contiguous()
    fresh = folder / ".weights"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir()
    try:
        save_torch_state_dict(tensors, fresh, max_shard_size=MAX_FILE_SIZE)
        for old in [*folder.glob("*.safetensors"), *folder.glob("*.safetensors.index.json")]:
            old.unlink()
        for file in fresh.iterdir():
            sync(file)
            file.rename(folder / file.name)
        fresh.rmdir()
        write_whole(folder / "config.json", json.dumps(_config(base, frames), indent=1) + "\n")
    except OSError as error:
        raise TrainingError(f"cannot write {folder}: {error.strerror or error}") from error


def _config(base: Checkpoint, frames: int) -> dict[str, Any]:
    """Return the base's config without its name, since the result is another model."""
    own = {key: value for key, value in base.own_settings.items() if key != "name"}
    return {**base.config, "librehps": {**own, "num_frames": frames}}
