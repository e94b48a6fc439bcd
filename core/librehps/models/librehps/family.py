"""The LibreHPS family: Qwen3.5 checkpoints with a head for each axis and a scalar head."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from librehps.models.attention import Attention, Host, apply, candidates
from librehps.models.base import Choice, Loaded, LoadOptions, Prepared, ProcessorOptions
from librehps.models.device import choose_device, choose_dtype
from librehps.models.kernels.check import TORCH, TRITON, fit_kernels
from librehps.models.kernels.choice import kernel_obstacle
from librehps.models.librehps.checkpoint import (
    Checkpoint,
    build_model,
    check_supported,
    fingerprint,
    own_settings_of,
)
from librehps.models.librehps.compiled import check_compiler, compile_model
from librehps.models.librehps.footprint import footprint_of
from librehps.models.librehps.model import LibreHPSModel
from librehps.models.librehps.processor import LibreHPSProcessor
from librehps.models.librehps.resize import PIXEL_BUDGET
from librehps.models.librehps.tokens import PromptEncoder
from librehps.models.memory_need import Footprint, Mode, check_memory
from librehps.models.quantise import choose_weights
from librehps.models.stored_embedding import off_device
from librehps.types import Kind

TRAINED_FRAMES = 8
# A small image; and one whose stream has several chunks of the delta rule, as most streams have.
PROBE_PX, COMPILE_PROBE_PX = 64, 320
# Ends the kernel's name in the settings: compiled kernels round otherwise, as other kernels do.
COMPILED = "-compiled"


class LibreHPSFamily:
    """The family of checkpoints in the published LibreHPS layout."""

    name = "librehps"

    def matches(self, folder: Path, config: Mapping[str, Any]) -> bool:
        """Return whether config.json describes a Qwen3.5; `open` rejects unsupported variants."""
        return str(config.get("model_type")).startswith("qwen3_5")

    def open(self, folder: Path, base: Path | None = None) -> "LibreHPSCheckpoint":
        """Return the opened checkpoint; `base` is not used. Raises CheckpointError."""
        return LibreHPSCheckpoint(Checkpoint.open(folder))

    def footprint(self, file: Path, config: Mapping[str, Any]) -> Footprint:
        """Return the sizes that determine the memory of the config.json `file`.

        Raises CheckpointError if the model is not supported.
        """
        check_supported(file, config)
        own_settings_of(file, config)
        return footprint_of(config)


@dataclass(frozen=True)
class LibreHPSCheckpoint:
    """An opened LibreHPS folder."""

    stored: Checkpoint
    kinds: tuple[Kind, ...] = ("image", "video")
    has_scalar: bool = True

    @property
    def folder(self) -> Path:
        """The checkpoint's folder."""
        return self.stored.folder

    @property
    def axes(self) -> tuple[str, ...]:
        """Names of the axes, `overall` first."""
        return self.stored.axes

    @property
    def pixel_budget(self) -> int:
        """Approximate number of pixels that an image or frame is resized to."""
        return int(self.stored.own_settings.get("pixel_budget", PIXEL_BUDGET))

    @property
    def num_frames(self) -> int:
        """Number of frames that are sampled from a video."""
        return int(self.stored.own_settings.get("num_frames", TRAINED_FRAMES))

    @property
    def layout(self) -> str:
        """12 hex digits, a hash of config and tokenizer."""
        return self.stored.layout

    def fingerprint(self) -> str:
        """Return 12 hex digits that identify the weights."""
        return fingerprint(self.stored)

    def processor(self, options: ProcessorOptions) -> LibreHPSProcessor:
        """Return the processor; raises CheckpointError for an unusable tokenizer."""
        encoder = PromptEncoder(self.folder / "tokenizer.json", options.max_prompt_tokens)
        budget = self.pixel_budget if options.pixel_budget is None else options.pixel_budget
        return LibreHPSProcessor(encoder, budget)

    def choose(self, options: LoadOptions) -> Choice:
        """Return what `load` would choose here; raises UsageError or AttentionError."""
        plan = plan_load(options)
        return Choice(
            plan.device, plan.dtype, plan.attentions[0].implementation, plan.kernel, plan.weights
        )

    def load(self, options: LoadOptions) -> Loaded:
        """Return the loaded model: check memory, read the weights, test the attention.

        Raises ModelError.
        """
        plan = plan_load(options)
        mode = Mode(plan.weights, plan.dtype)
        check_memory(footprint_of(self.stored.config), plan.device, mode, options.copies)
        network = build_model(
            self.stored,
            "sdpa",
            plan.dtype,
            plan.device,
            stored_embedding=True,
            weights=plan.weights,
        )
        embedding = off_device(network.model.language_model)
        model = LibreHPSModel(network, plan.device, plan.dtype, self.axes, embedding)
        processor = self.processor(ProcessorOptions())
        return fit(model, processor, plan)


def fit(model: LibreHPSModel, processor: LibreHPSProcessor, plan: "LoadPlan") -> Loaded:
    """Choose attention and kernels by first forwards, compile if asked, and return the model."""
    attention = fit_attention(model, processor, plan.attentions)
    one = probe(processor, COMPILE_PROBE_PX)
    batches = ([one, one], [one])
    kernel, why = fit_kernels(
        plan.device,
        plan.dtype,
        lambda: [score for batch in batches for score in model.launch(batch)()],
    )
    model.network.uses_kernels = kernel == TRITON
    reasons = {**plan.reasons, "delta_rule": why, "attention": attention.reason}
    if plan.compile:
        reasons["compile"] = compile_model(model, one)
        kernel += COMPILED
    return Loaded(model, attention.implementation, kernel, plan.weights, reasons)


def fit_attention(
    model: LibreHPSModel, processor: LibreHPSProcessor, attentions: list[Attention]
) -> Attention:
    """Set the first attention with which a small forward succeeds on the model, and return it."""
    one = probe(processor, PROBE_PX)
    return apply(model.network.model, attentions, lambda: model.launch([one])())


def probe(processor: LibreHPSProcessor, side: int) -> Prepared:
    """Return a prepared image of side x side pixels, for a first forward."""
    pixels = (torch.arange(3 * side * side) % 251).to(torch.uint8).view(1, 3, side, side)
    return LibreHPSProcessor(processor.encoder, 0).prepare(pixels, "image", processor.encode("x"))


@dataclass(frozen=True)
class LoadPlan:
    """The choices for loading a model; `attentions` are candidates, in order of preference."""

    device: torch.device
    dtype: torch.dtype
    attentions: list[Attention]
    kernel: str
    weights: str
    compile: bool
    reasons: dict[str, str]


def plan_load(options: LoadOptions) -> LoadPlan:
    """Return the choices for loading a model here.

    Raises UsageError, AttentionError or ExtraNeededError.
    """
    device, why_device = choose_device(options.device)
    dtype, why_dtype = choose_dtype(options.dtype, device)
    weights, why_weights = choose_weights(options.weights, device, dtype)
    if options.compile:
        check_compiler(device)
    attentions = candidates(options.attn_impl, Host.of(device, dtype))
    kernel = TRITON if kernel_obstacle(device) is None else TORCH
    if options.compile:
        kernel += COMPILED
    reasons = {"device": why_device, "dtype": why_dtype, "weights": why_weights}
    return LoadPlan(device, dtype, attentions, kernel, weights, options.compile, reasons)
