"""Quantised weights: linear layers as torchao's or bitsandbytes' own, one tensor at a time."""

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from math import ceil
from typing import Any

import torch
from torch import nn

from librehps.choices import WeightMode, check_choice
from librehps.errors import ExtraNeededError, UsageError
from librehps.extras import require
from librehps.models.freed_memory import return_freed_memory

FULL, INT8, NF4 = "full", "int8", "nf4"
TEXT = ("model.language_model.layers.",)
VISION = ("model.visual.blocks.", "model.visual.merger.")
# Where the linear layers of each mode are; everything else keeps its float values.
PREFIXES: dict[str, tuple[str, ...]] = {FULL: (), INT8: (*TEXT, *VISION), NF4: TEXT}
PACKAGES = {INT8: "torchao", NF4: "bitsandbytes"}
HINTS = {
    INT8: "Install a version for this PyTorch: for 2.11 and newer pip install -U torchao, for 2.6 "
    "pip install torchao==0.13.0.",
    NF4: "Install a version for this PyTorch: pip install -U bitsandbytes.",
}
NF4_DEVICES = ("cpu", "cuda")
# torchao scales a product only after it is rounded: float16 ends at 65504, too early for that.
INT8_DTYPES = (torch.float32, torch.bfloat16)
# Logger -> parts of warnings that importing the packages gives, of kernels that no mode uses.
# `transformers` imports torchao too.
NOISE = {
    "torchao": ("Failed to load", "Skipping import of cpp extensions"),
    "torch.utils._pytree": ("register_constant() on Enum subclasses",),
    "bitsandbytes.backends.cpu.ops": ("Failed to load CPU gemm_4bit_forward",),
}
# bitsandbytes' defaults: values per scale, and scales per second scale.
NF4_BLOCK, NF4_SCALE_BLOCK = 64, 256


def choose_weights(
    request: str | None, device: torch.device, dtype: torch.dtype
) -> tuple[str, str]:
    """Return (full, int8 or nf4; why).

    `dtype` is that of the backbone. Raises UsageError for an unsupported mode, ExtraNeededError if
    its package is not installed.
    """
    request = request or "auto"
    check_choice(request, WeightMode, "weights")
    if request == "auto":
        return FULL, "auto: quantised weights change scores, so only on request"
    if request in PACKAGES:
        require("quantize", f"--weights {request}", PACKAGES[request])
    if request == NF4 and device.type not in NF4_DEVICES:
        raise UsageError(
            f"--weights nf4: unsupported on {device.type} (expected cpu or cuda)",
            hint="Use --weights int8.",
        )
    if request == INT8 and dtype not in INT8_DTYPES:
        raise UsageError(
            "--weights int8: unsupported in float16, where products overflow",
            hint="Use --dtype bfloat16 or --dtype float32.",
        )
    return request, "as asked"


def is_quantised(module: nn.Module, name: str, weights: str) -> bool:
    """Return whether the mode quantises the parameter `name`, a direct parameter of `module`."""
    is_weight = isinstance(module, nn.Linear) and name.endswith(".weight")
    return is_weight and name.startswith(PREFIXES[weights])


def quantised_bytes(shape: tuple[int, ...], weights: str) -> int:
    """Return the bytes of a quantised linear weight of (out, in) values, with its scales."""
    rows, columns = shape
    if weights == INT8:
        # A row has a float32 scale and an int8 zero point.
        return rows * (columns + 5)
    scales = ceil(rows * columns / NF4_BLOCK)
    return ceil(rows * columns / 2) + scales + 4 * ceil(scales / NF4_SCALE_BLOCK)


def quantise(model: nn.Module, name: str, weights: str) -> None:
    """Replace a loaded parameter of the model by its quantised form, if the mode quantises it.

    The parameter's dtype is the one that the layer computes in.
    """
    path = name.rpartition(".")[0]
    module = model.get_submodule(path)
    if is_quantised(module, name, weights) and isinstance(module, nn.Linear):
        parent, _, leaf = path.rpartition(".")
        setattr(model.get_submodule(parent), leaf, _QUANTISERS[weights](module))
        # Float values leave pieces that are too small to reuse.
        return_freed_memory()


def _int8(linear: nn.Linear) -> nn.Module:
    quantize_, config = _torchao()
    quantize_(linear, config)
    return linear


def _nf4(linear: nn.Linear) -> Any:
    layer_class, parameter_class = _bitsandbytes()
    weight, bias = linear.weight, linear.bias
    layer: Any = layer_class(
        *(linear.in_features, linear.out_features, bias is not None),
        compute_dtype=weight.dtype,
        quant_type=NF4,
        device="meta",
    )
    # bitsandbytes quantises a weight when it is moved to a device, also to its own.
    packed = parameter_class(weight.data, requires_grad=False, quant_type=NF4, module=layer)
    layer.weight, layer.bias = packed.to(weight.device), bias
    # Else some CPUs would compute in bfloat16, also where float32 is asked for.
    layer.support_avx512bf16_for_cpu = False
    return layer


_QUANTISERS: dict[str, Callable[[nn.Linear], nn.Module]] = {INT8: _int8, NF4: _nf4}


@cache
def _torchao() -> tuple[Callable[[nn.Module, Any], None], Any]:
    """Return torchao's function that quantises a layer in place, and its setting for int8."""
    with importing(INT8):
        from torchao.quantization import Int8WeightOnlyConfig, quantize_

        # torchao's settings for torch.compile would also lower the precision of float32 products.
        return quantize_, Int8WeightOnlyConfig(set_inductor_config=False)


@cache
def _bitsandbytes() -> tuple[Any, Any]:
    """Return bitsandbytes' classes of a 4-bit linear layer and its weight."""
    with importing(NF4):
        from bitsandbytes.nn import Linear4bit, Params4bit

        return Linear4bit, Params4bit


@contextmanager
def importing(weights: str) -> Iterator[None]:
    """A context to import the package of a mode, which never downloads a kernel.

    Raises ExtraNeededError if the installed version does not work with this PyTorch.
    """
    # With the package `kernels`, importing bitsandbytes fetches a binary kernel from the hub.
    kernels = sys.modules.pop("kernels", None)
    sys.modules["kernels"] = None  # type: ignore[assignment]
    try:
        yield
    except (ImportError, AttributeError, RuntimeError, TypeError) as error:
        package = PACKAGES[weights]
        raise ExtraNeededError(
            f"--weights {weights}: the installed {package} does not work with PyTorch "
            f"{torch.__version__}: {error}",
            hint=HINTS[weights],
        ) from error
    finally:
        del sys.modules["kernels"]
        if kernels is not None:
            sys.modules["kernels"] = kernels


def _is_needed(record: logging.LogRecord) -> bool:
    text = record.getMessage()
    return not any(part in text for part in NOISE[record.name])


for _name in NOISE:
    logging.getLogger(_name).addFilter(_is_needed)
