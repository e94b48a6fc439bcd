"""A scorer with random weights, made where it runs and never written to disk."""

import torch
from torch import nn

from librehps import __version__
from librehps.bench.configs import config_of
from librehps.models.attention import Host, apply, candidates
from librehps.models.device import check_memory, choose_device, choose_dtype
from librehps.models.librehps.backbone import RewardModel
from librehps.models.librehps.batch import Prepared, forward, grid_of
from librehps.models.librehps.checkpoint import (
    HEAD_PREFIXES,
    empty_model,
    resident_bytes,
    restore_buffers,
)
from librehps.models.librehps.gated_delta_net import uses_fla
from librehps.models.librehps.load import Loaded
from librehps.models.librehps.resize import PIXEL_BUDGET
from librehps.models.librehps.tokens import PromptEncoder
from librehps.models.locate import EMBEDDED
from librehps.scorer import LibreHPS
from librehps.settings import Settings

# A gain at which activations neither vanish nor blow up through the layers.
GAIN = 1.4


def random_scorer(
    name: str,
    attn_impl: str = "auto",
    dtype: str | None = None,
    device: str | None = None,
    batch_size: int | None = None,
) -> LibreHPS:
    """A scorer of the size `name` (configs.NAMES); raises UsageError, ModelError.

    The tokenizer is that of LibreHPS-Tiny, whose few ids lie in every vocabulary here: the cost of
    a forward does not depend on which tokens it reads.
    """
    config = config_of(name)
    place, why_device = choose_device(device)
    number, why_dtype = choose_dtype(dtype, place)
    choices = candidates(attn_impl, Host.of(place, number))
    model = empty_model(config, "sdpa")
    check_memory(resident_bytes(model, number), place, number)
    fill(model, number, place)
    encoder = PromptEncoder(EMBEDDED / "tokenizer.json")
    attention = apply(model, choices, lambda: _probe(model, encoder, place))
    rule = "fla" if uses_fla(place) else "torch"
    own = config.get("librehps", {})
    settings = Settings(
        model=f"random-{name}",
        fingerprint="random",
        layout="random",
        dtype=str(number).removeprefix("torch."),
        attention=attention.implementation,
        delta_rule=rule,
        pixel_budget=own.get("pixel_budget", PIXEL_BUDGET),
        num_frames=own.get("num_frames", 8),
        version=__version__,
    )
    reasons = {"device": why_device, "dtype": why_dtype, "attention": attention.reason}
    loaded = Loaded(model, place, number, attention, rule, reasons)
    return LibreHPS(loaded, encoder, settings, EMBEDDED, batch_size=batch_size)


def fill(model: RewardModel, dtype: torch.dtype, device: torch.device) -> None:
    """Give a model on the meta device weights: normal, GAIN / sqrt(fan in), one seed.

    The backbone in `dtype`, the heads in float32, one tensor at a time.
    """
    generator = torch.Generator(device).manual_seed(0)
    for name, parameter in list(model.named_parameters()):
        kind = torch.float32 if name.startswith(HEAD_PREFIXES) else dtype
        fan_in = parameter[0].numel() if parameter.ndim > 1 else 1
        value = torch.empty(parameter.shape, dtype=kind, device=device)
        value.normal_(0, GAIN / fan_in**0.5, generator=generator)
        parent, _, leaf = name.rpartition(".")
        setattr(model.get_submodule(parent), leaf, nn.Parameter(value, requires_grad=False))
    restore_buffers(model, device)
    model.eval()


def _probe(model: RewardModel, encoder: PromptEncoder, device: torch.device) -> None:
    pixels = torch.zeros(1, 3, 64, 64, dtype=torch.uint8)
    stream = encoder.stream("image", grid_of(pixels), encoder.encode_prompt("x"))
    forward(model, [Prepared(pixels, stream)], device)
