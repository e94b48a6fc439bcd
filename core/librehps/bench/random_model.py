"""A scorer with random weights, created in memory for benchmarks."""

from dataclasses import replace

import torch
from torch import nn

from librehps import __version__
from librehps.bench.configs import config_of
from librehps.media.options import MediaOptions
from librehps.models.base import LoadOptions, ProcessorOptions
from librehps.models.librehps.backbone import RewardModel
from librehps.models.librehps.checkpoint import (
    HEAD_PREFIXES,
    Checkpoint,
    empty_model,
)
from librehps.models.librehps.family import LibreHPSCheckpoint, fit, plan_load
from librehps.models.librehps.footprint import footprint_of
from librehps.models.librehps.model import LibreHPSModel
from librehps.models.locate import EMBEDDED
from librehps.models.memory_need import Mode, check_memory
from librehps.models.quantise import FULL, quantise
from librehps.models.stored_embedding import keep_on_cpu, off_device
from librehps.scorer import LibreHPS
from librehps.settings import NUMERICS, Settings
from librehps.types import AXES

# Keeps activations from vanishing or exploding through the layers.
WEIGHT_GAIN = 1.4


def random_scorer(
    name: str,
    attn_impl: str = "auto",
    dtype: str | None = None,
    device: str | None = None,
    batch_size: int | None = None,
    weights: str | None = None,
    compile: bool = False,
) -> LibreHPS:
    """Return a scorer of the size `name` (a BenchConfig); raises UsageError, ModelError.

    The tokenizer is that of LibreHPS-Tiny, whose token ids are valid in every size; the cost of a
    forward does not depend on the token ids.
    """
    config = config_of(name)
    plan = plan_load(LoadOptions(attn_impl, dtype, device, weights, compile=compile))
    network = empty_model(config, "sdpa")
    check_memory(footprint_of(config), plan.device, Mode(plan.weights, plan.dtype))
    fill(network, plan.dtype, plan.device, plan.weights)
    # Off the device, as the embedding of a checkpoint is.
    text = network.model.language_model
    keep_on_cpu(text, text.embed_tokens.weight)
    model = LibreHPSModel(network, plan.device, plan.dtype, AXES, off_device(text))
    # The embedded checkpoint, except its config and weights.
    checkpoint = LibreHPSCheckpoint(replace(Checkpoint.open(EMBEDDED), config=config))
    processor = checkpoint.processor(ProcessorOptions())
    loaded = fit(model, processor, plan)
    settings = Settings(
        model=f"random-{name}",
        fingerprint="random",
        layout="random",
        dtype=str(plan.dtype).removeprefix("torch."),
        weights=plan.weights,
        attention=loaded.attention,
        delta_rule=loaded.kernel,
        pixel_budget=checkpoint.pixel_budget,
        num_frames=checkpoint.num_frames,
        **MediaOptions().record(),
        numerics=NUMERICS,
        version=__version__,
        axes=AXES,
    )
    return LibreHPS(checkpoint, loaded, processor, settings, batch_size=batch_size)


def fill(model: RewardModel, dtype: torch.dtype, device: torch.device, weights: str = FULL) -> None:
    """Fill a model on the meta device with weights: normal, WEIGHT_GAIN / sqrt(fan in), one seed.

    The backbone is in `dtype`, the heads in float32; made one tensor at a time to save memory.
    """
    generator = torch.Generator(device).manual_seed(0)
    for name, parameter in list(model.named_parameters()):
        kind = torch.float32 if name.startswith(HEAD_PREFIXES) else dtype
        fan_in = parameter[0].numel() if parameter.ndim > 1 else 1
        value = torch.empty(parameter.shape, dtype=kind, device=device)
        value.normal_(0, WEIGHT_GAIN / fan_in**0.5, generator=generator)
        parent, _, leaf = name.rpartition(".")
        setattr(model.get_submodule(parent), leaf, nn.Parameter(value, requires_grad=False))
        quantise(model, name, weights)
    model.eval()
