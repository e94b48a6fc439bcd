"""The choice of Triton's kernels: where they run, and where they are turned off."""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from librehps.choices import Kernels, check_choice

# torch: no kernels of Triton; unset or auto: where they run.
VARIABLE = "LIBREHPS_KERNELS"
# Compute capability: the kernels multiply bfloat16 and TF32 matrices.
CAPABILITY = 8
C_COMPILERS = ("gcc", "clang", "cc")

# Device -> why the kernels are not used on it, found by a first forward.
_failures: dict[torch.device, str] = {}
# Devices on which a first forward has shown that the kernels work.
_in_use: set[torch.device] = set()
# Whether this thread computes by the kernels; None: on the devices in use.
_is_on: ContextVar[bool | None] = ContextVar("is_on", default=None)


def kernels_for(x: Tensor) -> Any:
    """Return the elementwise kernels if they take this input, else None.

    They need no gradient, and torch.compile makes kernels of its own. A model that was not loaded
    to score, as one in training, never tries kernels that could fail after hours.
    """
    if torch.compiler.is_compiling() or torch.is_grad_enabled():
        return None
    is_on = x.device in _in_use if (asked := _is_on.get()) is None else asked
    if not is_on or kernel_obstacle(x.device) is not None:
        return None
    from librehps.models.kernels import elementwise

    return elementwise


def kernel_obstacle(device: torch.device) -> str | None:
    """Return why the kernels are not used on the device, None if they are."""
    return _failures.get(device) or _obstacle(device)


def use(device: torch.device) -> None:
    """Use the kernels on the device, in this process."""
    _in_use.add(device)


def give_up(device: torch.device, reason: str) -> None:
    """Use the kernels on the device no more, in this process."""
    _failures[device] = reason


@contextmanager
def plain() -> Iterator[None]:
    """Compute by operations of PyTorch alone within the context, in this thread.

    Other threads may score in the meantime, and round as before.
    """
    with _switched(is_on=False):
        yield


@contextmanager
def on_kernels() -> Iterator[None]:
    """Compute by the kernels within the context, in this thread, on a device not yet in use."""
    with _switched(is_on=True):
        yield


@contextmanager
def _switched(is_on: bool) -> Iterator[None]:
    token = _is_on.set(is_on)
    try:
        yield
    finally:
        _is_on.reset(token)


def read_choice() -> bool:
    """Return whether the kernels are wanted; raises UsageError for an invalid variable."""
    choice = os.environ.get(VARIABLE) or "auto"
    check_choice(choice, Kernels, VARIABLE)
    return choice == "auto"


@cache
def _obstacle(device: torch.device) -> str | None:
    # AMD's GPUs are called cuda too.
    if device.type != "cuda" or torch.version.hip is not None:
        return "they need CUDA"
    if os.environ.get(VARIABLE) == "torch":
        return f"{VARIABLE} is torch"
    if torch.cuda.get_device_capability(device)[0] < CAPABILITY:
        return f"they need compute capability {CAPABILITY}.0 or newer"
    if find_spec("triton") is None:
        return "the package triton is not installed"
    # Triton compiles the code that starts a kernel.
    return compiler_obstacle("C", "CC", C_COMPILERS)


def compiler_obstacle(language: str, variable: str, names: Sequence[str]) -> str | None:
    """Return that no compiler is found, None if one is: that of the variable, or one of `names`."""
    given = os.environ.get(variable)
    wanted = [given] if given else names
    if any(shutil.which(name) for name in wanted):
        return None
    return f"no {language} compiler found ({', '.join(wanted)})"
