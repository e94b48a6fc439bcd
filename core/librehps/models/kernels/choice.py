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

from librehps.choices import Kernels, check_choice

# torch: no kernels of Triton; unset or auto: where they run.
VARIABLE = "LIBREHPS_KERNELS"
# Compute capability: the kernels multiply bfloat16 and TF32 matrices.
CAPABILITY = 8
C_COMPILERS = ("gcc", "clang", "cc")

# Device -> why the kernels are not used on it, found by a first forward.
_failures: dict[torch.device, str] = {}
# Whether this thread computes by the kernels.
_is_on: ContextVar[bool] = ContextVar("is_on", default=False)


def current_kernels() -> Any:
    """Return the elementwise kernels if this thread computes by them now, else None.

    They need no gradient, and torch.compile makes kernels of its own.
    """
    if torch.compiler.is_compiling() or torch.is_grad_enabled() or not _is_on.get():
        return None
    from librehps.models.kernels import elementwise

    return elementwise


def kernel_obstacle(device: torch.device) -> str | None:
    """Return why no further model uses the kernels on the device, None if one may."""
    return _failures.get(device) or _obstacle(device)


def give_up(device: torch.device, reason: str) -> None:
    """Load no more models that use the kernels on the device, in this process."""
    _failures[device] = reason


@contextmanager
def on_kernels(wanted: bool = True) -> Iterator[None]:
    """Compute by the kernels within the context, in this thread, if wanted.

    Each model wants them or not, by its first forward: a model that was not loaded to score, as one
    in training, never tries kernels that could fail after hours.
    """
    token = _is_on.set(wanted or _is_on.get())
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
