"""The memory of freed tensors, which a process with a model on its CPU keeps."""

import ctypes
import sys

import pytest
import torch

from librehps.models.freed_memory import VARIABLE, keep_freed_memory

BYTES, PAGE = 12 << 20, 4096


def page_faults() -> int:
    resource = pytest.importorskip("resource")
    return int(resource.getrusage(resource.RUSAGE_THREAD).ru_minflt)


def test_the_next_tensor_takes_the_pages_of_a_freed_one(monkeypatch: pytest.MonkeyPatch) -> None:
    if not (sys.platform.startswith("linux") and hasattr(ctypes.CDLL(None), "mallopt")):
        pytest.skip("only glibc")
    monkeypatch.delenv(VARIABLE, raising=False)
    keep_freed_memory(torch.device("cpu"))
    freed = [torch.zeros(BYTES // 4) for _ in range(4)]
    freed.clear()
    before = page_faults()
    torch.zeros(BYTES // 4)
    assert page_faults() - before < BYTES // PAGE // 4
