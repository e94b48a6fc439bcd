"""Memory that a model needs in each mode, from config.json alone, and a check before loading."""

from dataclasses import dataclass

import torch
from torch import nn

from librehps.errors import MemoryShortError
from librehps.models.activation_memory import ItemSize, Widths, activation_bytes
from librehps.models.free_memory import free_memory
from librehps.models.quantise import FULL, INT8, INT8_DTYPES, NF4, NF4_DEVICES, is_quantised
from librehps.models.stored_embedding import CACHE_BYTES, EMBEDDING
from librehps.models.weights import resident_bytes

# cuBLAS takes them at the first product; measured on an H200 with PyTorch 2.11.
CUDA_WORKSPACE_BYTES = 4 * 2**25
# Tokens of an image's prompt and template, for estimates.
PROMPT_TOKENS = 60


@dataclass(frozen=True)
class Mode:
    """A way to keep the weights: full, int8 or nf4, and the dtype of all that is not quantised."""

    weights: str
    dtype: torch.dtype

    @property
    def dtype_name(self) -> str:
        """The name of the dtype, as --dtype takes it."""
        return str(self.dtype).removeprefix("torch.")

    @property
    def flags(self) -> str:
        """The flags that ask for this mode."""
        return f"--dtype {self.dtype_name}" if self.weights == FULL else f"--weights {self.weights}"


@dataclass(frozen=True)
class Need:
    """The bytes that a mode needs on the device: weights, and the peak of a forward."""

    weights: int
    activations: int

    @property
    def total(self) -> int:
        """Weights and activations."""
        return self.weights + self.activations


@dataclass(frozen=True)
class Footprint:
    """The sizes of a model, of which its memory follows.

    `network` is on the meta device; parameters named by `heads` are float32; `item` is an image.
    """

    network: nn.Module
    heads: tuple[str, ...]
    widths: Widths
    item: ItemSize

    def need(self, mode: Mode, device: torch.device, items: int = 1) -> Need:
        """Return the need of a forward of `items` images; the embedding is off the device."""
        parameters = dict(self.network.named_parameters())
        table = parameters[EMBEDDING].numel() * mode.dtype.itemsize
        weights = resident_bytes(self.network, mode.dtype, self.heads, mode.weights) - table
        if device.type == "cpu":
            weights += min(table, CACHE_BYTES)
        # A quantised weight becomes one of the compute dtype for its product.
        wide = (
            parameter.numel()
            for name, parameter in parameters.items()
            if is_quantised(self.network.get_submodule(name.rpartition(".")[0]), name, mode.weights)
        )
        widened = max(wide, default=0) * mode.dtype.itemsize
        workspace = CUDA_WORKSPACE_BYTES if device.type == "cuda" else 0
        forward = items * activation_bytes(self.widths, mode.dtype, self.item)
        return Need(weights, forward + widened + workspace)


def modes_on(device: torch.device, dtype: torch.dtype) -> list[Mode]:
    """Return the modes that a device supports; quantised ones compute in `dtype`."""
    modes = [Mode(FULL, kind) for kind in dict.fromkeys((torch.bfloat16, torch.float32, dtype))]
    if dtype in INT8_DTYPES:
        modes.append(Mode(INT8, dtype))
    if device.type in NF4_DEVICES:
        modes.append(Mode(NF4, dtype))
    return modes


def check_memory(footprint: Footprint, device: torch.device, mode: Mode, copies: int = 1) -> None:
    """Raise MemoryShortError if weights and one image exceed the free memory of the device.

    `copies`: models that are loaded on it at the same time. The error lists the modes that fit, and
    what each needs.
    """
    free, need = free_memory(device), copies * footprint.need(mode, device).total
    if free is None or need <= free:
        return
    times = "" if copies == 1 else f" for each of {copies} models on it, {size_text(need)} in all"
    one = size_text(need // copies)
    raise MemoryShortError(
        f"not enough memory on {device}: {mode.weights} weights in {mode.dtype_name} need "
        f"{one} with one image{times}, {size_text(free)} are free",
        hint=_what_fits(footprint, device, mode.dtype, free // copies),
    )


def _what_fits(footprint: Footprint, device: torch.device, dtype: torch.dtype, free: int) -> str:
    needs = {mode.flags: footprint.need(mode, device).total for mode in modes_on(device, dtype)}
    fitting = [f"{flags} ({size_text(total)})" for flags, total in needs.items() if total <= free]
    if fitting:
        return f"These fit: {', '.join(fitting)}. `librehps info --memory` lists all modes."
    least = min(needs, key=lambda flags: needs[flags])
    return (
        f"No mode fits; the smallest is {least} ({size_text(needs[least])}). "
        "Free memory, or use a device with more."
    )


def size_text(count: int) -> str:
    """Return a number of bytes as text, in GB or MB."""
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.0f} MB"
