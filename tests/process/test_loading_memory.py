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
from librehps.models.librehps.checkpoint import (
    HEAD_PREFIXES, Checkpoint, build_model, empty_model
)
from librehps.models.weights import resident_bytes

def status(key):
    for line in open("/proc/self/status"):
        if line.startswith(key): return int(line.split()[1]) * 1024

folder, small, dtype = Path(sys.argv[1]), Path(sys.argv[2]), getattr(torch, sys.argv[3])
weights, cpu = sys.argv[4], torch.device("cpu")
# A small model first, so that what imports and allocators take is not counted.
build_model(Checkpoint.open(small), "sdpa", dtype, cpu, weights=weights)
before = status("VmRSS")
# The peak from here on.
open("/proc/self/clear_refs", "w").write("5")
checkpoint = Checkpoint.open(folder)
model = build_model(checkpoint, "sdpa", dtype, cpu, weights=weights)
resident = resident_bytes(empty_model(checkpoint.config, "sdpa"), dtype, HEAD_PREFIXES, weights)
print((status("VmHWM") - before) / resident, resident)
"""


def measured(folder: Path, dtype: str, weights: str) -> tuple[float, float]:
    """Return (peak / resident, resident bytes) of loading, without what imports take."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(folder), str(CHECKPOINT), dtype, weights],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    ratio, resident = map(float, done.stdout.split())
    return ratio, resident


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of one shard of over 0.5 GB in float32."""
    config = json.loads((CHECKPOINT / "config.json").read_text())
    config["text_config"]["vocab_size"] = 2_100_000
    folder = rewrite(
        tmp_path_factory.mktemp("large") / "large",
        lambda tensors: {
            name: torch.zeros(2_100_000, 64) if "embed_tokens" in name else value.float()
            for name, value in tensors.items()
        },
    )
    (folder / "config.json").write_text(json.dumps(config))
    assert (folder / "model.safetensors").stat().st_size > 0.5e9
    return folder


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="VmHWM is Linux's")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_memory_of_loading_one_large_shard(large: Path, dtype: str) -> None:
    """Loading takes at most 1.15 x the memory of the parameters."""
    ratio, resident = measured(large, dtype, "full")
    assert resident > 0.25e9
    assert ratio <= 1.15


LAYERS, WIDTH = 24, 12_500
# Quantising takes some copies of one matrix in float32; here the matrices are a large part.
WORKING_BYTES = 6 * 64 * WIDTH * 4


@pytest.fixture(scope="module")
def layered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of many large linear layers."""
    config = json.loads((CHECKPOINT / "config.json").read_text())
    text = config["text_config"]
    text |= {"intermediate_size": WIDTH, "num_hidden_layers": LAYERS}
    text["layer_types"] *= LAYERS // 4
    folder = rewrite(tmp_path_factory.mktemp("layered") / "large", deep)
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="VmHWM is Linux's")
@pytest.mark.parametrize("weights", ["int8", "nf4"])
def test_memory_of_loading_quantised_weights(layered: Path, weights: str) -> None:
    """Each tensor is quantised before the next is read: float weights never stay in memory."""
    # Float weights would take as much as the file.
    size = (layered / "model.safetensors").stat().st_size
    ratio, resident = measured(layered, "bfloat16", weights)
    assert resident < 0.6 * size
    assert ratio * resident <= 1.15 * resident + WORKING_BYTES


def deep(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the tensors with LAYERS layers, in turn those of the 4 layers, of a wider MLP."""
    made = {}
    for name, value in tensors.items():
        prefix, layers, rest = name.partition("language_model.layers.")
        value = value.bfloat16()
        if not layers:
            made[name] = value
            continue
        number, _, rest = rest.partition(".")
        if rest.startswith("mlp."):
            value = torch.ones(*(WIDTH if size == 128 else size for size in value.shape)).bfloat16()
        for at in range(int(number), LAYERS, 4):
            made[f"{prefix}{layers}{at}.{rest}"] = value.clone()
    return made
