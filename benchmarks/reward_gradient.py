"""Measure what a reward's gradient costs: processor time and memory, against the forward alone.

    python benchmarks/reward_gradient.py --config tiny 47m --batch 4 --side 448

Each way runs in a process of its own: the score without a graph, the gradient, and the gradient
with checkpointing. Memory is what the way adds to the loaded model, at its peak.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable

import torch

from librehps import LibreHPS
from librehps.bench.random_model import random_scorer
from librehps.rewards import DifferentiableReward

WAYS = ("forward", "gradient", "checkpointing")
MB = 1 << 20


def measure(way: str, config: str, batch: int, side: int, repeats: int) -> dict[str, object]:
    """Return seconds of a batch, of the processor or of the GPU, and the peak memory in MB."""
    scorer = LibreHPS.from_pretrained("tiny") if config == "tiny" else random_scorer(config)
    reward = DifferentiableReward(scorer, checkpointing=way == "checkpointing")
    images = torch.rand(batch, 3, side, side, generator=torch.Generator().manual_seed(0))
    images = images.to(scorer.device)

    def step() -> None:
        pixels = images.clone().requires_grad_(way != "forward")
        value = reward(pixels, ["a red circle"] * batch).sum()
        if way != "forward":
            value.backward()

    on_gpu = scorer.device.type == "cuda"
    # The first picture alone, so that what loads late is no memory of the batch.
    images, whole = images[:1], images
    batch = 1
    step()
    before = _peak(on_gpu)
    images, batch = whole, len(whole)
    step()
    peak = _peak(on_gpu) - before
    clock: Callable[[], float] = time.perf_counter if on_gpu else time.process_time
    start = clock()
    for _ in range(repeats):
        step()
        if on_gpu:
            torch.cuda.synchronize()
    seconds = (clock() - start) / repeats
    return {"config": config, "way": way, "batch": batch, "side": side,
            "seconds": round(seconds, 3), "added_mb": round(peak / MB)}  # fmt: skip


def _peak(on_gpu: bool) -> int:
    if on_gpu:
        return torch.cuda.max_memory_allocated()
    # In kilobytes on Linux.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--config", nargs="+", default=["tiny", "47m"])
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--side", type=int, default=448)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--way", choices=WAYS, help="run this way here, not each in a process")
    given = parser.parse_args()
    for config in given.config:
        if given.way:
            found = measure(given.way, config, given.batch, given.side, given.repeats)
            print(json.dumps(found), flush=True)
            continue
        for way in WAYS:
            options = [f"--{name}={getattr(given, name)}" for name in ("batch", "side", "repeats")]
            command = [sys.executable, __file__, "--config", config, "--way", way, *options]
            subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
