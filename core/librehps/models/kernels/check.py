"""The first forward on the kernels, held to the plain one."""

import logging
from collections.abc import Callable, Sequence

import torch

from librehps.errors import ModelError
from librehps.models.agreement import agrees, difference
from librehps.models.base import RawScore
from librehps.models.kernels.choice import VARIABLE, give_up, kernel_obstacle, plain, read_choice

log = logging.getLogger("librehps")

TRITON, TORCH = "triton", "torch"


def fit_kernels(
    device: torch.device, dtype: torch.dtype, forward: Callable[[], Sequence[RawScore]]
) -> tuple[str, str]:
    """Return (triton or torch, why), after a forward that tries the kernels.

    Kernels that fail, or whose scores differ by more than rounding, are not used on the device.
    Raises UsageError for an invalid LIBREHPS_KERNELS, ModelError if the device works no more.
    """
    read_choice()
    if (why := kernel_obstacle(device)) is not None:
        return TORCH, f"auto: no kernels of Triton: {why}"
    from triton.errors import TritonError

    with plain():
        expected = forward()
    try:
        moved = difference(expected, forward())
        failure = None if agrees(moved, dtype) else f"they move mu by {moved:.2g}"
    except (RuntimeError, OSError, TritonError) as error:
        failure = (str(error).strip() or type(error).__name__).splitlines()[0]
    if failure is None:
        return TRITON, "auto: CUDA with Triton"
    _check_alive(device, failure)
    give_up(device, failure)
    log.warning("the kernels of Triton are not used on %s: %s", device, failure)
    return TORCH, f"auto: the kernels of Triton failed: {failure}"


def _check_alive(device: torch.device, failure: str) -> None:
    """Raise ModelError if a kernel's failure has ended all work of this process on the device."""
    try:
        torch.zeros(1, device=device).item()
    except RuntimeError as error:
        raise ModelError(
            f"the kernels of Triton failed on {device}, and ended its work: {failure}",
            hint=f"Set {VARIABLE}=torch, which computes without them.",
        ) from error
