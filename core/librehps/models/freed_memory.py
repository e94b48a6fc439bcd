"""Freed memory: kept for the next batch of a model on the CPU, or returned to the system."""

import ctypes
import os
import sys
from collections.abc import Callable
from functools import cache

import torch

# Numbers of glibc's mallopt, and the environment variable that sets the first.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
VARIABLE = "MALLOC_TRIM_THRESHOLD_"
MAX_FREE_BYTES = 256 << 20
# The largest that glibc accepts; larger tensors still return to the system when they are freed.
MAX_KEPT_BYTES = 32 << 20


def keep_freed_memory(device: torch.device) -> None:
    """Let glibc keep the memory of freed tensors, if the model's device is the CPU.

    By default glibc returns it to the system after each layer, and Linux clears every page again.
    Without glibc nothing changes.
    """
    if device.type != "cpu" or not sys.platform.startswith("linux") or VARIABLE in os.environ:
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, MAX_KEPT_BYTES)
        mallopt(M_TRIM_THRESHOLD, MAX_FREE_BYTES)


def return_freed_memory() -> None:
    """Return memory that was freed, and that glibc keeps, to the system."""
    trim = _malloc_trim()
    if trim is not None:
        trim(0)


@cache
def _malloc_trim() -> Callable[[int], int] | None:
    """Return glibc's function, None on other systems."""
    if not sys.platform.startswith("linux"):
        return None
    found: Callable[[int], int] | None = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return found
