"""The memory that loading a checkpoint takes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from checkpoints import rewrite
from conftest import CHECKPOINT

MEASURE = """
import sys, torch
from pathlib import Path
from librehps.models.librehps.checkpoint import Checkpoint, build_model, empty_model

def status(key):
    for line in open("/proc/self/status"):
        if line.startswith(key): return int(line.split()[1]) * 1024

folder, small, dtype = Path(sys.argv[1]), Path(sys.argv[2]), getattr(torch, sys.argv[3])
# A small model first, so that what imports and allocators take is not counted.
build_model(Checkpoint.open(small), "sdpa", dtype, torch.device("cpu"))
before = status("VmRSS")
model = build_model(Checkpoint.open(folder), "sdpa", dtype, torch.device("cpu"))
resident = sum(p.numel() * p.element_size() for p in model.parameters())
print((status("VmHWM") - before) / resident, resident)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="VmHWM is Linux's")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_memory_of_loading_one_large_shard(tmp_path: Path, dtype: str) -> None:
    """Loading a shard of over 1 GB in float32 takes at most 1.15 x the memory of its parameters."""
    config = json.loads((CHECKPOINT / "config.json").read_text())
    config["text_config"]["vocab_size"] = 4_300_000
    folder = rewrite(
        tmp_path / "large",
        lambda tensors: {
            name: torch.zeros(4_300_000, 64) if "embed_tokens" in name else value.float()
            for name, value in tensors.items()
        },
    )
    (folder / "config.json").write_text(json.dumps(config))
    assert (folder / "model.safetensors").stat().st_size > 1e9
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(folder), str(CHECKPOINT), dtype],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    ratio, resident = map(float, done.stdout.split())
    assert resident > 0.5e9
    assert ratio <= 1.15
