"""Training, killed and resumed, and in two processes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from conftest import CHECKPOINT, Cli
from killed import kill
from librehps.preferences.read import read_preferences
from librehps.train.base import open_base, trainable
from librehps.train.feed import MediaFeed, targets_of
from librehps.train.objective import loss_terms
from librehps.train.options import TrainOptions, split
from librehps.train.state import seed_step
from preference_data import brightness_pairs, metrics, train_command


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return brightness_pairs(tmp_path_factory.mktemp("pairs"), 24)


# Of one run each time, of 7 steps an epoch. States are saved at 2, 4, 5, 6, 8; each is put in
# place by two renames.
KILLS = [("saved", 1), ("saving", 2), ("saved", 1), ("replacing", 1)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("part", "steps", "kills"), [("lora", 5, KILLS[:1]), ("full", 9, KILLS)], ids=["lora", "full"]
)
def test_killed_and_resumed_is_bit_equal(
    pairs: Path, tmp_path: Path, part: str, steps: int, kills: list[tuple[str, int]], cli: Cli
) -> None:
    each = ("--batch-size", 3, "--save-every", 2, "--eval-every", 5)
    extra = ("--part", part, "--steps", steps, *each)
    assert cli(*train_command(pairs, tmp_path / "whole", *extra)).returncode == 0
    output = tmp_path / "killed"
    kill(kills, *train_command(pairs, output, *extra))
    resumed = cli(*train_command(pairs, output, *extra, "--resume"))
    assert resumed.returncode == 0, resumed.stderr
    for name in ("model.safetensors", "state/state.safetensors"):
        ours, theirs = load_file(output / name), load_file(tmp_path / "whole" / name)
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[k], theirs[k]) for k in ours)
    steps = [line["step"] for line in metrics(output)]
    assert steps == sorted(set(steps)) == [line["step"] for line in metrics(tmp_path / "whole")]
    again = cli(*train_command(pairs, output, *extra, "--resume"))
    assert again.returncode == 0


@pytest.mark.slow
def test_two_processes_share_a_batch(pairs: Path, tmp_path: Path) -> None:
    """Each takes its half, and both step along the mean of their gradients."""
    output = tmp_path / "two"
    extra = ("--part", "full", "--steps", 1, "--batch-size", 3, "--clip", 1e6)
    launch = ("torch.distributed.run", "--nproc-per-node", "2", "-m", "librehps_cli")
    done = subprocess.run(
        [sys.executable, "-m", *launch, *train_command(pairs, output, *extra)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert len(done.stdout.splitlines()) == 1, "only the first process speaks"
    expected = mean_gradient(pairs, tmp_path, processes=2, batch_size=3)
    moments = load_file(output / "state/state.safetensors")
    # The first moment after one step is a tenth of the gradient.
    found = {n: moments[f"optimiser/exp_avg/{n}"] * 10 for n in expected}
    for name, gradient in expected.items():
        assert torch.allclose(found[name], gradient, rtol=1e-3, atol=1e-5), name


def mean_gradient(pairs: Path, folder: Path, processes: int, batch_size: int) -> dict:
    """Return the gradient of the first step, computed here, one process' share at a time."""
    options = TrainOptions(part="full")
    learned, _ = split(read_preferences(pairs).pairs, options.held_out_share)
    base = open_base(CHECKPOINT, folder, options, torch.device("cpu"))
    feed = MediaFeed(base)
    base.model.train()
    order = torch.randperm(len(learned), generator=torch.Generator().manual_seed(0)).tolist()
    for process in range(processes):
        seed_step(0, 1, process)
        chosen = [learned[i] for i in order[: processes * batch_size][process::processes]]
        output = base.model(feed.inputs(chosen))
        terms = loss_terms(output, targets_of(chosen, base.device, base.checkpoint.axes), options)
        (sum(terms.values()) / processes).backward()
    return {n: p.grad for n, p in trainable(base.model).items() if p.grad is not None}
