"""Device and dtype: what is chosen where nothing is asked, and whether the weights fit."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from librehps.choices import Dtype, check_choice
from librehps.errors import MemoryShortError, UsageError

DTYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "fp32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}
GB = 1e9
# CUDA cards older than this have no bfloat16.
AMPERE = 8


def choose_device(request: str | torch.device | None) -> tuple[torch.device, str]:
    """(device, why); raises UsageError for one that is not here."""
    if request is None or request == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", torch.cuda.current_device()), "auto: CUDA is available"
        if torch.backends.mps.is_available():
            return torch.device("mps"), "auto: Apple GPU"
        return torch.device("cpu"), "auto: no GPU found"
    try:
        device = torch.device(request)
        # With its index: which device is the current one differs from thread to thread.
        device = torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"device {str(request)!r} cannot be used: {reason}") from error
    return device, "as asked"


def choose_dtype(
    request: str | torch.dtype | None, device: torch.device
) -> tuple[torch.dtype, str]:
    """(dtype of the backbone, why); raises UsageError for an unknown name."""
    if isinstance(request, torch.dtype):
        if request not in DTYPES.values():
            raise UsageError(f"the model runs in float32, bfloat16 or float16, not {request}")
        return request, "as asked"
    if request is not None and request != "auto":
        check_choice(request, Dtype, "dtype")
        return DTYPES[request], "as asked"
    if device.type == "cuda" and torch.cuda.get_device_capability(device)[0] >= AMPERE:
        return torch.bfloat16, "auto: CUDA with bfloat16"
    if device.type == "cpu":
        return torch.float32, "auto: bfloat16 is several times slower on most CPUs"
    return torch.float32, f"auto: {device.type} without a tested bfloat16"


def check_memory(needed: int, device: torch.device, dtype: torch.dtype) -> None:
    """Raise MemoryShortError where weights of `needed` bytes do not fit in what is free."""
    free = free_memory(device)
    if free is not None and needed > free:
        hint = "Use a machine or device with more memory."
        if dtype == torch.float32:
            hint = "--dtype bfloat16 needs half as much. " + hint
        raise MemoryShortError(
            f"the weights need {needed / GB:.1f} GB on {device} in {str(dtype)[6:]}; "
            f"{free / GB:.1f} GB are free",
            hint=hint,
        )


def free_memory(device: torch.device) -> int | None:
    """Bytes free for weights; None where the system does not say."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        # Not Linux: the whole of the memory is an upper bound.
        names = getattr(os, "sysconf_names", {})
        if "SC_PHYS_PAGES" not in names:
            return None
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    limit = _control_group_free()
    return free if limit is None else min(free, limit)


def _control_group_free() -> int | None:
    """What a container's limit leaves; None where there is none."""
    group = Path("/sys/fs/cgroup")
    try:
        limit = (group / "memory.max").read_text().strip()
        used = int((group / "memory.current").read_text())
        stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):
        return None
    # Cached files count as used, and are given up when memory is asked for.
    cached = int(stat.get("inactive_file", 0)) + int(stat.get("active_file", 0))
    return None if limit == "max" else max(0, int(limit) - used + cached)


def moved(tensor: Tensor, device: torch.device) -> Tensor:
    """On the device; to a GPU through pinned memory, so that nothing waits for the copy."""
    if tensor.device == device:
        return tensor
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def copied(outputs: Sequence[Tensor], device: torch.device) -> Callable[[], list[Tensor]]:
    """Start copying outputs from the device; the returned call waits for them on the CPU."""
    if device.type != "cuda":
        return lambda: [tensor.cpu() for tensor in outputs]
    # Copied as soon as they are there: a copy asked for later stands behind the next batch.
    here = [tensor.to("cpu", non_blocking=True) for tensor in outputs]
    done = torch.cuda.Event(blocking=True)
    done.record(torch.cuda.current_stream(device))

    def wait() -> list[Tensor]:
        done.synchronize()
        return here

    return wait
