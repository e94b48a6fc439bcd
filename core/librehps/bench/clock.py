"""Time on a device, and the rate of its plain matrix product."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import torch

# Side of the square product: large enough to fill the device.
SIDES = {"cuda": 8192, "mps": 4096}
CPU_SIDE = 2048
QUICK_SIDE = 512


@dataclass(frozen=True)
class Clock:
    """Times calls on a device, until their work is done there."""

    device: torch.device

    def seconds(self, call: Callable[[], object]) -> float:
        """Of one call."""
        if self.device.type == "cuda":
            return self._by_events(call)
        start = time.perf_counter()
        call()
        if self.device.type == "mps":
            torch.mps.synchronize()
        return time.perf_counter() - start

    def median(self, call: Callable[[], object], repeats: int) -> float:
        """Seconds of the middle one of `repeats` calls, after one that is not counted."""
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
    """GFLOP/s of a square product in `dtype`, the best of several."""
    side = QUICK_SIDE if quick else SIDES.get(clock.device.type, CPU_SIDE)
    a, b = (torch.randn(side, side, device=clock.device).to(dtype) for _ in range(2))
    clock.seconds(lambda: a @ b)
    least = min(clock.seconds(lambda: a @ b) for _ in range(5 if quick else 20))
    return 2 * side**3 / least / 1e9
