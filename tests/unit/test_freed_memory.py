"""The memory of freed tensors, which a process with a model on its CPU keeps."""

import ctypes
import sys
from collections.abc import Callable

import pytest
import torch

from librehps.models.freed_memory import VARIABLE, keep_freed_memory

BYTES = 28 << 20


class Mallinfo2(ctypes.Structure):
    """The struct of glibc's mallinfo2: bytes mapped apart, and free bytes that glibc keeps."""

    _fields_ = [(name, ctypes.c_size_t) for name in (
        "arena", "ordblks", "smblks", "hblks", "mapped_apart", "usmblks", "fsmblks", "uordblks",
        "free", "keepcost")]  # fmt: skip


@pytest.fixture
def memory() -> Callable[[], Mallinfo2]:
    found = getattr(ctypes.CDLL(None), "mallinfo2", None) if sys.platform == "linux" else None
    if found is None:
        pytest.skip("only glibc 2.33 or newer")
    found.restype = Mallinfo2
    return found


def test_glibc_keeps_the_memory_of_freed_tensors(
    memory: Callable[[], Mallinfo2], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    keep_freed_memory(torch.device("cpu"))
    before = memory().mapped_apart
    tensors = [torch.zeros(BYTES // 4) for _ in range(4)]
    assert memory().mapped_apart - before < BYTES
    tensors.clear()
    assert memory().free >= 4 * BYTES
