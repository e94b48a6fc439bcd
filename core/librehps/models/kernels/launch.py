"""How a kernel of Triton is started."""

from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor


def launch(kernel: Any, grid: tuple[int, ...], *arguments: Any, **shape: Any) -> None:
    """Start a kernel on the device of its first argument; `shape`: its constants."""
    # Triton starts kernels on the current device of the thread.
    device = arguments[0].device
    is_elsewhere = device.type == "cuda" and device.index != torch.cuda.current_device()
    with torch.cuda.device(device) if is_elsewhere else nullcontext():
        # Versions of Triton differ in its default.
        kernel[grid](*arguments, enable_fp_fusion=True, **shape)


def with_rows(x: Tensor) -> Tensor:
    """Return x, copied if the values of its last axis are not next to each other."""
    return x if x.stride(-1) == 1 else x.contiguous()


def power_of_two(size: int) -> int:
    """Return the least power of two that is not below `size`."""
    return 1 << (size - 1).bit_length()
