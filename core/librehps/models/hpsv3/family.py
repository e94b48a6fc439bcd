"""The HPSv3 family: Qwen2-VL with a head that gives mu and sigma of one axis, for images."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from librehps.errors import UsageError
from librehps.models.attention import Host, apply, candidates
from librehps.models.base import Choice, Loaded, LoadOptions, Prepared, ProcessorOptions
from librehps.models.device import choose_device, choose_dtype
from librehps.models.hpsv3.checkpoint import StoredModel, build_model, empty_model, empty_network
from librehps.models.hpsv3.footprint import network_footprint
from librehps.models.hpsv3.model import AXES, HPSv3Model
from librehps.models.hpsv3.processor import HPSv3Processor
from librehps.models.hpsv3.resize import PIXEL_BUDGET
from librehps.models.hpsv3.tokens import StreamEncoder
from librehps.models.kernels.check import TRITON, fit_kernels
from librehps.models.memory_need import Footprint, Mode, check_memory
from librehps.models.prequantised import check_float_config
from librehps.models.quantise import choose_weights
from librehps.models.weights import fingerprint
from librehps.types import Kind

# This family has no choice of kernel.
KERNEL = "none"


class HPSv3Family:
    """The family of checkpoints in the published HPSv3 layout."""

    name = "hpsv3"

    def matches(self, folder: Path, config: Mapping[str, Any]) -> bool:
        """Return whether config.json describes a Qwen2-VL."""
        return config.get("model_type") == "qwen2_vl"

    def open(self, folder: Path, base: Path | None = None) -> "HPSv3Checkpoint":
        """Return the opened checkpoint; raises CheckpointError, naming file and cause."""
        return HPSv3Checkpoint(StoredModel.open(folder, base or folder))

    def footprint(self, file: Path, config: Mapping[str, Any]) -> Footprint:
        """Return the sizes that determine the memory of the config.json `file`.

        Raises CheckpointError if the model is not supported.
        """
        check_float_config(file, config)
        return network_footprint(empty_network(config))


@dataclass(frozen=True)
class HPSv3Checkpoint:
    """An opened HPSv3 folder."""

    stored: StoredModel
    axes: tuple[str, ...] = AXES
    has_scalar: bool = False
    kinds: tuple[Kind, ...] = ("image",)
    pixel_budget: int = PIXEL_BUDGET
    num_frames: int = 1

    @property
    def folder(self) -> Path:
        """The checkpoint's folder."""
        return self.stored.folder

    @property
    def layout(self) -> str:
        """12 hex digits, a hash of config, tokenizer and template."""
        return self.stored.layout

    def fingerprint(self) -> str:
        """Return 12 hex digits that identify the weights."""
        return fingerprint(self.stored.tensors)

    def processor(self, options: ProcessorOptions) -> HPSv3Processor:
        """Return the processor; raises CheckpointError for an unusable tokenizer."""
        file = self.stored.tokenizer_file
        encoder = StreamEncoder(file, self.stored.template, options.max_prompt_tokens)
        encoder.check_rows(self.stored.rows, file)
        budget = self.pixel_budget if options.pixel_budget is None else options.pixel_budget
        return HPSv3Processor(encoder, budget)

    def choose(self, options: LoadOptions) -> Choice:
        """Return what `load` would choose here; raises UsageError or AttentionError."""
        _refuse_compile(options)
        device, _ = choose_device(options.device)
        dtype, _ = choose_dtype(options.dtype, device)
        weights, _ = choose_weights(options.weights, device, dtype)
        first = candidates(options.attn_impl, Host.of(device, dtype))[0]
        return Choice(device, dtype, first.implementation, KERNEL, weights)

    def load(self, options: LoadOptions) -> Loaded:
        """Return the loaded model: check memory, read the weights, test the attention.

        Raises ModelError.
        """
        _refuse_compile(options)
        device, why_device = choose_device(options.device)
        dtype, why_dtype = choose_dtype(options.dtype, device)
        weights, why_weights = choose_weights(options.weights, device, dtype)
        attentions = candidates(options.attn_impl, Host.of(device, dtype))
        footprint = network_footprint(empty_model(self.stored))
        check_memory(footprint, device, Mode(weights, dtype), options.copies)
        model = HPSv3Model(build_model(self.stored, dtype, device, weights), device, dtype)
        one = _probe(self.processor(ProcessorOptions()))
        attention = apply(model.network.model, attentions, lambda: model.launch([one])())
        kernel, _ = fit_kernels(device, dtype, lambda: model.launch([one, one])())
        model.network.uses_kernels = kernel == TRITON
        reasons = {
            "device": why_device,
            "dtype": why_dtype,
            "weights": why_weights,
            "attention": attention.reason,
        }
        return Loaded(model, attention.implementation, KERNEL, weights, reasons)


def _refuse_compile(options: LoadOptions) -> None:
    if options.compile:
        raise UsageError(
            "--compile: unsupported for HPSv3 checkpoints", hint="Leave out --compile."
        )


def _probe(processor: HPSv3Processor) -> Prepared:
    """Return a small prepared image, for a first forward."""
    pixels = torch.zeros(1, 3, 56, 56, dtype=torch.uint8)
    return processor.with_budget(0).prepare(pixels, "image", processor.encode("x"))
