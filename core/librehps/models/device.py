"""Device and dtype of a model: the choice for `auto`, and copies to and from the device."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from librehps.choices import Dtype, check_choice
from librehps.errors import UsageError

DTYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "fp32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}
# Compute capability: CUDA GPUs below have no bfloat16.
BFLOAT16_CAPABILITY = 8
# Instructions that multiply bfloat16 matrices: AMX and AVX-512 of x86, and those of ARM.
BFLOAT16_FLAGS = ("amx_bf16", "avx512_bf16", "bf16")
CPU_FLAGS = Path("/proc/cpuinfo")
# The dtype that `auto` chooses; unset: by the device.
DTYPE_VARIABLE = "LIBREHPS_DTYPE"
MAX_REASON_CHARS = 120


def choose_device(request: str | torch.device | None) -> tuple[torch.device, str]:
    """Return (device, why); raises UsageError for an invalid or unavailable device."""
    if request is None or request == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", torch.cuda.current_device()), "auto: CUDA is available"
        if torch.backends.mps.is_available():
            return torch.device("mps"), "auto: Apple GPU"
        return torch.device("cpu"), "auto: no GPU found"
    device = named_device(request)
    _check(device, _obstacle(device))
    # With its index: which device is the current one differs from thread to thread.
    return torch.empty(0, device=device).device, "as asked"


def named_device(request: str | torch.device) -> torch.device:
    """Return the device of this name, which may be missing; raises UsageError for no name."""
    try:
        return torch.device(request)
    except RuntimeError as error:
        raise UsageError(
            f"--device: expected auto, cpu, cuda, cuda:N or mps, got {str(request)!r}"
        ) from error


def check_cuda(device: torch.device) -> None:
    """Raise UsageError for a missing CUDA device, without using it in this process."""
    _check(device, _cuda_obstacle(device.index))


def _check(device: torch.device, obstacle: str | None) -> None:
    if obstacle is not None:
        raise UsageError(
            f"--device: {device} is not available on this machine ({obstacle})",
            hint="Use --device auto or --device cpu.",
        )


def _obstacle(device: torch.device) -> str | None:
    """Return why the device cannot be used here, None if it can."""
    if device.type == "cuda" and (reason := _cuda_obstacle(device.index)) is not None:
        return reason
    if device.type == "mps" and not torch.backends.mps.is_built():
        return "MPS needs a Mac with an Apple GPU"
    if device.type == "meta":
        return "meta tensors hold no data"
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, ImportError) as error:
        # PyTorch lists every operator and backend where a device type is not built in.
        if device.type not in ("cuda", "mps"):
            return "unsupported by this PyTorch build"
        return (str(error) or type(error).__name__).splitlines()[0][:MAX_REASON_CHARS]
    return None


def _cuda_obstacle(index: int | None) -> str | None:
    if not torch.backends.cuda.is_built():
        return "this PyTorch build has no CUDA support"
    count = torch.cuda.device_count()
    if not count:
        return "no NVIDIA GPU or no driver found"
    if index is not None and index >= count:
        return "the only one is cuda:0" if count == 1 else f"found cuda:0 to cuda:{count - 1}"
    return None


def choose_dtype(
    request: str | torch.dtype | None, device: torch.device
) -> tuple[torch.dtype, str]:
    """Return (dtype of the backbone, why); raises UsageError for an unsupported dtype."""
    if request is not None and request != "auto":
        name = str(request).removeprefix("torch.")
        check_choice(name, Dtype, "dtype")
        return DTYPES[name], "as asked"
    default = os.environ.get(DTYPE_VARIABLE) or "auto"
    if default != "auto":
        check_choice(default, Dtype, DTYPE_VARIABLE)
        return DTYPES[default], f"auto: {DTYPE_VARIABLE}"
    if device.type == "cuda" and torch.cuda.get_device_capability(device)[0] >= BFLOAT16_CAPABILITY:
        return torch.bfloat16, "auto: CUDA with bfloat16"
    if device.type == "cpu":
        flag = _bfloat16_flag()
        if flag is not None:
            return torch.bfloat16, f"auto: the CPU has bfloat16 arithmetic ({flag})"
        return torch.float32, "auto: no CPU flag of bfloat16 arithmetic, which is slow without"
    return torch.float32, f"auto: {device.type} without a tested bfloat16"


def _bfloat16_flag() -> str | None:
    """Return the CPU's flag of bfloat16 arithmetic; None without, or where Linux does not tell."""
    try:
        lines = CPU_FLAGS.read_text().splitlines()
    except OSError:
        return None
    # "flags" on x86, "Features" on ARM; equal for all cores.
    named = (line.partition(":")[2] for line in lines if line.startswith(("flags", "Features")))
    flags = next(named, "").split()
    return next((flag for flag in BFLOAT16_FLAGS if flag in flags), None)


def moved(tensor: Tensor, device: torch.device) -> Tensor:
    """Return the tensor on the device; copies to a GPU are asynchronous, from pinned memory."""
    if tensor.device == device:
        return tensor
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def copied(outputs: Sequence[Tensor], device: torch.device) -> Callable[[], list[Tensor]]:
    """Start copying the outputs to the CPU; return a function that waits for the copies."""
    if device.type != "cuda":
        return lambda: [tensor.cpu() for tensor in outputs]
    # Started now: a copy that is started later waits for the next batch.
    here = [tensor.to("cpu", non_blocking=True) for tensor in outputs]
    done = torch.cuda.Event(blocking=True)
    done.record(torch.cuda.current_stream(device))

    def wait() -> list[Tensor]:
        done.synchronize()
        return here

    return wait
