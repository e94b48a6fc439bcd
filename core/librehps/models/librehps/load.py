"""From a checkpoint folder and the user's wishes to a model that is ready to score."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from librehps.models.attention import Attention, Host, apply, candidates
from librehps.models.device import check_memory, choose_device, choose_dtype
from librehps.models.librehps.backbone import RewardModel
from librehps.models.librehps.checkpoint import Checkpoint, build_model, empty_model, resident_bytes
from librehps.models.librehps.gated_delta_net import uses_fla


@dataclass(frozen=True)
class Loaded:
    """A model, where and how it runs, and why (`reasons`, by name of the choice)."""

    model: RewardModel
    device: torch.device
    dtype: torch.dtype
    attention: Attention
    delta_rule: str
    reasons: dict[str, str]


@dataclass(frozen=True)
class Choice:
    """Where and how a model would run, known without its weights; attentions to try, in order."""

    device: torch.device
    dtype: torch.dtype
    attentions: list[Attention]
    delta_rule: str
    reasons: dict[str, str]


def choose(
    attn_impl: str, dtype: str | torch.dtype | None, device: str | torch.device | None
) -> Choice:
    """What `load` would choose here; raises UsageError or AttentionError."""
    place, why_device = choose_device(device)
    number, why_dtype = choose_dtype(dtype, place)
    attentions = candidates(attn_impl, Host.of(place, number))
    rule, why_rule = _delta_rule(place)
    reasons = {"device": why_device, "dtype": why_dtype, "delta_rule": why_rule}
    return Choice(place, number, attentions, rule, reasons)


def load(
    checkpoint: Checkpoint,
    attn_impl: str,
    dtype: str | torch.dtype | None,
    device: str | torch.device | None,
    probe: Callable[[RewardModel, torch.device], None],
) -> Loaded:
    """Choose, check memory, read the weights, and try the attention; raises ModelError."""
    choice = choose(attn_impl, dtype, device)
    place, number = choice.device, choice.dtype
    empty = empty_model(checkpoint.config, "sdpa")
    check_memory(resident_bytes(empty, number), place, number)
    model = build_model(checkpoint, "sdpa", number, place)
    attention = apply(model, choice.attentions, lambda: probe(model, place))
    reasons = {**choice.reasons, "attention": attention.reason}
    return Loaded(model, place, number, attention, choice.delta_rule, reasons)


def _delta_rule(device: torch.device) -> tuple[str, str]:
    if uses_fla(device):
        return "fla", "auto: CUDA with fla installed"
    why = "fla is not installed" if device.type == "cuda" else "fla's kernels need CUDA"
    return "torch", f"auto: {why}"
