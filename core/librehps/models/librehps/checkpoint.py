"""Loading of a LibreHPS checkpoint folder into a network, tensor by tensor."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from librehps.errors import CheckpointError
from librehps.models.librehps.backbone import RewardModel
from librehps.models.librehps.config import read_config
from librehps.models.librehps.heads import MultiAxisHead, ScalarHead
from librehps.models.prequantised import check_float_config
from librehps.models.quantise import FULL, quantise
from librehps.models.stored_embedding import EMBEDDING, keep_stored
from librehps.models.weight_files import read_json, shard_paths
from librehps.models.weights import (
    Stored,
    assign,
    check_tensors,
    find_tensors,
    on_meta,
    read_tensor,
)
from librehps.models.weights import fingerprint as fingerprint_of
from librehps.types import AXES

HEAD_PREFIXES = ("multi_axis_head.", "scalar_head.")


@dataclass(frozen=True)
class Checkpoint:
    """A folder's config.json, and the location of each tensor: canonical name -> (shard, name)."""

    folder: Path
    config: dict[str, Any]
    tensors: Stored

    @classmethod
    def open(cls, folder: Path) -> "Checkpoint":
        """Return a folder's config and shard headers; raises CheckpointError, naming the file."""
        config = read_json(folder / "config.json")
        check_supported(folder / "config.json", config)
        return cls(folder, config, find_tensors(shard_paths(folder), canonical_name))

    @property
    def has_heads(self) -> bool:
        """True if any tensor of the reward heads is stored."""
        return any(name.startswith(HEAD_PREFIXES) for name in self.tensors)

    @property
    def own_settings(self) -> dict[str, Any]:
        """The object `librehps` of config.json: name, pixel_budget, num_frames, each optional."""
        return own_settings_of(self.folder / "config.json", self.config)

    @property
    def axes(self) -> tuple[str, ...]:
        """Names of the scored axes, `overall` first; AXES if config.json names none."""
        return axes_of(self.config)

    @property
    def layout(self) -> str:
        """12 hex digits, a hash of config and tokenizer."""
        kept = {k: self.config[k] for k in ("text_config", "vision_config")}
        # Both names mean the same vision tower; scored files have the digest of the newer name.
        if kept["vision_config"].get("model_type") == "qwen3_5":
            kept["vision_config"] = {**kept["vision_config"], "model_type": "qwen3_5_vision"}
        if self.axes != AXES:
            kept["axes"] = self.axes
        digest = hashlib.sha256(json.dumps(kept, sort_keys=True).encode())
        digest.update((self.folder / "tokenizer.json").read_bytes())
        return digest.hexdigest()[:12]


def own_settings_of(file: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the object `librehps` of a config.json, empty if absent; raises CheckpointError."""
    own = config.get("librehps", {})
    if not isinstance(own, dict):
        raise CheckpointError(f"{file}: `librehps` is not an object")
    for key in ("pixel_budget", "num_frames"):
        if key in own and not (isinstance(own[key], int) and own[key] > 0):
            raise CheckpointError(
                f"{file}: `librehps.{key}`: expected an integer above 0, got {own[key]!r}"
            )
    return own


def axes_of(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the axes named by `librehps.axes` of a config.json, else AXES.

    Raises CheckpointError.
    """
    own = config.get("librehps")
    named = own.get("axes", AXES) if isinstance(own, dict) else AXES
    names = named if isinstance(named, list | tuple) else []
    are_names = all(isinstance(name, str) and name.isidentifier() for name in names)
    if not (are_names and names and names[0] == "overall" and len({*names}) == len(names)):
        raise CheckpointError(
            f"config.json: `librehps.axes`: expected distinct names, `overall` first, got {named!r}"
        )
    return tuple(names)


def canonical_name(name: str) -> str | None:
    """Return the published name of a stored tensor; None for a tensor that scoring never needs."""
    if name == "lm_head.weight" or name.endswith("embed_tokens__weight__special_reward_row"):
        return None
    return name.replace("model.language_model.visual.", "model.visual.", 1)


def build_model(
    checkpoint: Checkpoint,
    attention: str,
    dtype: torch.dtype,
    device: torch.device,
    fresh_heads: bool = False,
    stored_embedding: bool = False,
    weights: str = FULL,
) -> RewardModel:
    """Return the network in evaluation mode; backbone in `dtype`, heads in float32.

    `fresh_heads` adds random heads to a backbone without heads; `stored_embedding` reads rows of
    the embedding from its file when they are needed; `weights` full, int8 or nf4: each tensor is
    quantised before the next is read. Raises CheckpointError that lists every missing, unexpected
    or misshapen tensor.
    """
    model = empty_model(checkpoint.config, attention)
    if fresh_heads:
        hidden = model.scalar_head.proj.in_features
        axes = len(checkpoint.axes)
        heads = {"multi_axis_head": MultiAxisHead(hidden, axes), "scalar_head": ScalarHead(hidden)}
        del model.multi_axis_head, model.scalar_head
    expected = {name: tuple(p.shape) for name, p in model.named_parameters()}
    check_tensors(checkpoint.folder, checkpoint.tensors, expected, _likely_cause)
    if stored_embedding:
        keep_stored(model.model.language_model, checkpoint.tensors[EMBEDDING], dtype)
    for name, place in checkpoint.tensors.items():
        if name == EMBEDDING and stored_embedding:
            continue
        kind = torch.float32 if name.startswith(HEAD_PREFIXES) else dtype
        assign(model, name, read_tensor(place, kind, device))
        quantise(model, name, weights)
    if fresh_heads:
        for name, head in heads.items():
            setattr(model, name, head.to(device))
    return model.eval().requires_grad_(False)


def empty_model(config: Mapping[str, Any], attention: str) -> RewardModel:
    """Return the network of a config.json on the meta device; raises CheckpointError."""
    sizes, axes = read_config(config), len(axes_of(config))
    return on_meta(lambda: RewardModel(sizes, attention, axes))


def fingerprint(checkpoint: Checkpoint) -> str:
    """Return 12 hex digits that identify the weights, independent of stored dtype and shards."""
    return fingerprint_of(checkpoint.tensors)


def check_supported(file: Path, config: Mapping[str, Any]) -> None:
    """Raise CheckpointError unless a config.json is that of a dense Qwen3.5 of float weights."""
    family = config.get("model_type")
    if family == "qwen3_5_moe":
        raise CheckpointError(
            f"{file.parent} is a mixture-of-experts model (qwen3_5_moe), which is not supported",
            hint="Use the dense checkpoint, LibreHPS/LibreHPS-4B-v1.1.",
        )
    parts = [config.get(name) for name in ("text_config", "vision_config")]
    if family != "qwen3_5" or not all(isinstance(part, dict) for part in parts):
        raise CheckpointError(
            f"{file}: expected a Qwen3.5 model with vision, got {family!r}",
            hint="Give a LibreHPS checkpoint: a folder or a hub id.",
        )
    check_float_config(file, config)


def _likely_cause(missing: list[str], unexpected: list[str]) -> str:
    if any(".experts." in name for name in unexpected):
        return "These are mixture-of-experts weights; only the dense model is supported."
    if missing and all(name.startswith(HEAD_PREFIXES) for name in missing):
        return (
            "The checkpoint has no reward heads: it looks like a plain Qwen3.5, or was saved by "
            "stock transformers."
        )
    if missing and not unexpected:
        return "A shard seems to be missing: download the checkpoint again."
    return "The weights and config.json seem to come from different models."
