"""Timing on a device, and the speed of its matrix product."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import torch

# Rows and columns of the matrices: large enough to fill the device.
MATMUL_SIDES = {"cuda": 8192, "mps": 4096}
CPU_MATMUL_SIDE = 2048
QUICK_MATMUL_SIDE = 512


@dataclass(frozen=True)
class Clock:
    """A clock that times calls on a device, including their asynchronous work."""

    device: torch.device

    def seconds(self, call: Callable[[], object]) -> float:
        """Return the seconds of one call."""
        if self.device.type == "cuda":
            return self._by_events(call)
        start = time.perf_counter()
        call()
        if self.device.type == "mps":
            torch.mps.synchronize()
        return time.perf_counter() - start

    def median(self, call: Callable[[], object], repeats: int) -> float:
        """Return the median seconds of `repeats` calls, after one warm-up call."""
        self.seconds(call)
        return median(self.seconds(call) for _ in range(repeats))

    def _by_events(self, call: Callable[[], object]) -> float:
        with torch.cuda.device(self.device):
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            torch.cuda.synchronize()
            start.record()
            call()
            end.record()
            torch.cuda.synchronize()
            return float(start.elapsed_time(end)) / 1000


def matmul_gflops(clock: Clock, dtype: torch.dtype, quick: bool) -> float:
    """Return GFLOP/s of a square matrix product in `dtype`, the best of several calls."""
    side = QUICK_MATMUL_SIDE if quick else MATMUL_SIDES.get(clock.device.type, CPU_MATMUL_SIDE)
    a, b = (torch.randn(side, side, device=clock.device).to(dtype) for _ in range(2))
    clock.seconds(lambda: a @ b)
    least = min(clock.seconds(lambda: a @ b) for _ in range(5 if quick else 20))
    return 2 * side**3 / least / 1e9


def gflops_by_dtype(clock: Clock) -> dict[str, float] | None:
    """Return GFLOP/s of a small product in each dtype that suits a CPU; None on other devices."""
    if clock.device.type != "cpu":
        return None
    dtypes = (torch.float32, torch.bfloat16)
    return {str(dtype)[6:]: matmul_gflops(clock, dtype, quick=True) for dtype in dtypes}
