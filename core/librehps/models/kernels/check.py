"""The first forward on the kernels, held to the plain one."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from subprocess import CalledProcessError, SubprocessError

import torch

from librehps.errors import MemoryShortError, ModelError
from librehps.models.agreement import agrees, difference
from librehps.models.base import RawScore
from librehps.models.kernels.choice import (
    VARIABLE,
    give_up,
    kernel_obstacle,
    on_kernels,
    read_choice,
)

log = logging.getLogger("librehps")

TRITON, TORCH = "triton", "torch"
# What versions of Triton, their compilers and drivers raise, besides Triton's own errors. The same
# forward has just succeeded without the kernels, so that nothing else is hidden.
FAILURES = (
    *(ArithmeticError, AssertionError, AttributeError, ImportError, LookupError, OSError),
    *(RuntimeError, SubprocessError, TypeError, ValueError),
)
SLOWER = "scoring on %s is slower, without the kernels of Triton: %s"


def fit_kernels(
    device: torch.device, dtype: torch.dtype, forward: Callable[[], Sequence[RawScore]]
) -> tuple[str, str]:
    """Return (triton or torch, why), after a forward that tries the kernels.

    Kernels that fail, or whose scores differ by more than rounding, are not used by this model, nor
    by the next on the device; models that are loaded already keep theirs.
    Raises UsageError for an invalid LIBREHPS_KERNELS, MemoryShortError if the device is full,
    ModelError if it works no more.
    """
    is_wanted = read_choice()
    if (why := kernel_obstacle(device)) is not None:
        if device.type == "cuda" and is_wanted:
            log.warning(SLOWER, device, why)
        return TORCH, f"auto: no kernels of Triton: {why}"
    try:
        failure = _failure(forward(), dtype, forward)
    except torch.OutOfMemoryError as error:
        raise MemoryShortError(
            f"not enough memory on {device} for a first forward",
            hint="Free memory, or use a mode that needs less: librehps info --memory.",
        ) from error
    if failure is None:
        return TRITON, "auto: CUDA with Triton"
    _check_alive(device, failure)
    give_up(device, failure)
    log.warning(SLOWER, device, failure)
    return TORCH, f"auto: the kernels of Triton failed: {failure}"


def _failure(
    expected: Sequence[RawScore], dtype: torch.dtype, forward: Callable[[], Sequence[RawScore]]
) -> str | None:
    """Return what is wrong with a forward on the kernels, None if nothing is."""
    try:
        with on_kernels():
            moved = difference(expected, forward())
    except torch.OutOfMemoryError:
        raise
    except CalledProcessError as error:
        return f"{Path(error.cmd[0]).name} failed, which needs Python.h (Debian: python3-dev)"
    except _failures() as error:
        log.debug("the kernels of Triton failed", exc_info=error)
        first, *_ = str(error).strip().splitlines() or [""]
        return f"{type(error).__name__}: {first}"
    return None if agrees(moved, dtype) else f"they move mu by {moved:.2g}"


def _failures() -> tuple[type[Exception], ...]:
    """Return the errors of a forward on the kernels; Triton's own only if it can be imported."""
    try:
        from triton.errors import TritonError
    except ImportError:
        return FAILURES
    return (*FAILURES, TritonError)


def _check_alive(device: torch.device, failure: str) -> None:
    """Raise ModelError if a kernel's failure has ended all work of this process on the device."""
    try:
        torch.zeros(1, device=device).item()
    except RuntimeError as error:
        raise ModelError(
            f"the kernels of Triton failed on {device}, and ended its work: {failure}",
            hint=f"Set {VARIABLE}=torch, which computes without them.",
        ) from error
