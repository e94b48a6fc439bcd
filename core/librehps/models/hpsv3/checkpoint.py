"""Loading of a folder in the HPSv3 layout into a network, tensor by tensor."""

import hashlib
import json
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from librehps.errors import CheckpointError
from librehps.models.hpsv3.backbone import HEAD, RewardModel
from librehps.models.hpsv3.published import BASE_FILES, BASE_REPO, WEIGHTS_FILE
from librehps.models.hpsv3.template import Template, find_template
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
    stored_shape,
)

# Fields of config.json that do not affect what the model computes.
UNREAD_FIELDS = ("_name_or_path", "architectures", "dtype", "torch_dtype", "transformers_version")


@dataclass(frozen=True)
class StoredModel:
    """A folder's config, template, and location of each tensor.

    `base` holds config.json and tokenizer.json of Qwen2-VL, and may be another folder.
    """

    folder: Path
    base: Path
    config: dict[str, Any]
    template: Template
    tensors: Stored

    @classmethod
    def open(cls, folder: Path, base: Path) -> "StoredModel":
        """Return a folder's config, template and shard headers; raises CheckpointError."""
        for name in BASE_FILES:
            if not (base / name).exists():
                raise CheckpointError(
                    f"{base / name} not found",
                    hint=f"Copy {' and '.join(BASE_FILES)} of {BASE_REPO} next to the weights.",
                )
        config = read_json(base / "config.json")
        check_float_config(base / "config.json", config)
        weights = folder / WEIGHTS_FILE
        shards = [weights] if weights.exists() else shard_paths(folder)
        tensors = find_tensors(shards, canonical_name)
        return cls(folder, base, config, find_template(folder), tensors)

    @property
    def tokenizer_file(self) -> Path:
        """Path of the tokenizer; the published file lacks the reward token."""
        return self.base / "tokenizer.json"

    @property
    def rows(self) -> int:
        """Number of rows of the stored embedding, which config.json does not contain."""
        if EMBEDDING not in self.tensors:
            raise CheckpointError(
                f"{self.folder}: tensor {EMBEDDING} not found",
                hint="A shard seems to be missing: download the checkpoint again.",
            )
        return stored_shape(self.tensors[EMBEDDING])[0]

    @property
    def layout(self) -> str:
        """12 hex digits, a hash of config, tokenizer and template."""
        kept = {name: value for name, value in self.config.items() if name not in UNREAD_FIELDS}
        digest = hashlib.sha256(json.dumps(kept, sort_keys=True).encode())
        digest.update(self.tokenizer_file.read_bytes())
        digest.update(self.template.digest.encode())
        return digest.hexdigest()[:12]


def canonical_name(name: str) -> str | None:
    """Return the `transformers` 5 name of a stored tensor; None for `lm_head`."""
    if name == "lm_head.weight":
        return None
    if name.startswith("visual."):
        return f"model.{name}"
    rest = name.removeprefix("model.")
    if rest == name or rest.startswith(("visual.", "language_model.")):
        return name
    return f"model.language_model.{rest}"


def empty_model(stored: StoredModel) -> RewardModel:
    """Return the network on the meta device, its embedding sized as stored."""
    return empty_network(stored.config, stored.rows)


def empty_network(stored: Mapping[str, Any], rows: int | None = None) -> RewardModel:
    """Return the network of a config.json on the meta device, with an embedding of `rows` rows."""
    from huggingface_hub.errors import StrictDataclassError
    from transformers import Qwen2VLConfig

    def build() -> RewardModel:
        try:
            # A copy, since the class changes the dict, of which `layout` is a digest.
            config = Qwen2VLConfig.from_dict(deepcopy(dict(stored)))
        except StrictDataclassError as error:
            raise ValueError(error) from error
        config.text_config.vocab_size = rows or config.text_config.vocab_size
        return RewardModel(config, "sdpa")

    return on_meta(build)


def build_model(
    stored: StoredModel, dtype: torch.dtype, device: torch.device, weights: str = FULL
) -> RewardModel:
    """Return the network in evaluation mode; backbone in `dtype`, head in float32.

    `weights` full, int8 or nf4: each tensor is quantised before the next is read. Rows of the
    embedding are read from its file when they are needed. Raises CheckpointError that lists every
    missing, unexpected or misshapen tensor.
    """
    model = empty_model(stored)
    expected = {name: tuple(p.shape) for name, p in model.named_parameters()}
    check_tensors(stored.folder, stored.tensors, expected, _likely_cause)
    keep_stored(model.model.language_model, stored.tensors[EMBEDDING], dtype)
    for name, place in stored.tensors.items():
        if name == EMBEDDING:
            continue
        kind = torch.float32 if name.startswith(HEAD) else dtype
        assign(model, name, read_tensor(place, kind, device))
        quantise(model, name, weights)
    model.set_rotary(device)
    return model.eval().requires_grad_(False)


def _likely_cause(missing: list[str], unexpected: list[str]) -> str:
    if missing and all(name.startswith(HEAD) for name in missing):
        return "This looks like a plain Qwen2-VL: it has no reward head."
    if missing and not unexpected:
        return "A shard seems to be missing: download the checkpoint again."
    return "The weights and config.json seem to come from different models."
