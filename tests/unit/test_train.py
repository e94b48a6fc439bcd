"""Training: losses, the loop through the command line, kills, two processes, what is written."""

import json
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from conftest import CHECKPOINT, Cli
from librehps import LibreHPS
from librehps.models.librehps.batch import collate
from librehps.models.librehps.checkpoint import canonical_name
from librehps.preferences.read import read_preferences
from librehps.train import losses
from librehps.train.base import open_base, trainable
from librehps.train.export import export
from librehps.train.feed import MediaFeed, targets_of
from librehps.train.objective import loss_terms
from librehps.train.options import TrainOptions, rate_factor, split
from librehps.train.state import find_state, read_progress, seed_step
from librehps.types import Item
from preference_data import brightness_pairs

NAN = float("nan")


def test_pair_loss_with_soft_labels_and_masks() -> None:
    gap = torch.tensor([[2.0, 1.0], [-1.0, 3.0]])
    target = torch.tensor([[1.0, NAN], [0.25, NAN]])
    p, q = 1 / (1 + math.exp(-2)), 1 / (1 + math.exp(1))
    expected = (-math.log(p) - 0.25 * math.log(q) - 0.75 * math.log(1 - q)) / 2
    assert losses.pair_loss(gap, target).item() == pytest.approx(expected)
    assert losses.pair_loss(gap, torch.full((2, 2), NAN)).item() == 0
    halved = losses.pair_loss(gap, target, torch.full((2, 2), 2.0))
    assert halved.item() == pytest.approx(losses.pair_loss(gap / 2, target).item())


def test_unknown_targets_give_no_gradient() -> None:
    gap = torch.tensor([1.0, 2.0], requires_grad=True)
    losses.pair_loss(gap, torch.tensor([1.0, NAN])).backward()
    assert gap.grad is not None
    assert gap.grad[0] != 0
    assert gap.grad[1] == 0


def test_honest_sigma_is_large_where_mu_errs_and_leaves_mu_alone() -> None:
    gap = torch.full((100,), 2.0, requires_grad=True)
    target = (torch.arange(100) < 60).float()
    log_spread = torch.zeros(1, requires_grad=True)
    optimiser = torch.optim.Adam([log_spread], lr=0.05)
    for _ in range(400):
        optimiser.zero_grad()
        losses.honesty_loss(gap, target, log_spread.exp().expand(100)).backward()
        optimiser.step()
    assert gap.grad is None
    # Right in 60 %: sigmoid(2 / spread) = 0.6.
    assert log_spread.exp().item() == pytest.approx(2 / math.log(0.6 / 0.4), rel=0.05)


def test_rating_loss() -> None:
    scalar, rating = torch.tensor([1.0, 5.0]), torch.tensor([3.0, NAN])
    assert losses.rating_loss(scalar, rating).item() == pytest.approx(4)


def test_rate_rises_then_falls() -> None:
    factors = [rate_factor(step, 100, 0.1) for step in range(1, 101)]
    assert max(factors) == factors[9] == pytest.approx(1)
    assert factors[:10] == sorted(factors[:10])
    assert factors[9:] == sorted(factors[9:], reverse=True)
    assert factors[-1] == pytest.approx(0, abs=1e-6)


def test_schedule_counts_whole_batches() -> None:
    options = TrainOptions(batch_size=4, accumulate=2, epochs=3)
    assert options.schedule(50, 2) == (9, 3)
    assert TrainOptions(steps=7).schedule(50, 1) == (7, 6)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return brightness_pairs(tmp_path_factory.mktemp("pairs"), 40)


def metrics(output: Path) -> list[dict]:
    return [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]


def command(pairs: Path, output: Path, *extra: object, model: Path = CHECKPOINT) -> list[str]:
    fixed = ("train", pairs, "--model", model, "-o", output, "--device", "cpu")
    return list(map(str, (*fixed, *extra)))


def test_no_prompt_is_on_both_sides(pairs: Path) -> None:
    kept, held_out = split(read_preferences(pairs).pairs, 0.2)
    assert kept
    assert held_out
    assert not {p.prompt for p in kept} & {p.prompt for p in held_out}
    assert len(kept) + len(held_out) == 40


def test_heads_on_200_pairs_lower_held_out_loss(cli: Cli, tmp_path: Path) -> None:
    pairs = brightness_pairs(tmp_path, 200)
    output = tmp_path / "out"
    done = cli(*command(pairs, output, "--part", "heads", "--head-rate", "0.002"))
    assert done.returncode == 0, done.stderr
    told = [line["held_out"] for line in metrics(output) if "held_out" in line]
    best = json.loads(done.stdout)["best_loss"]
    assert best < 0.75 * told[0]["loss"]
    assert max(figures["accuracy"] for figures in told) > told[0]["accuracy"]
    # Only the heads have moved; all else is stored as it was.
    stored = {k: v for f in CHECKPOINT.glob("*.safetensors") for k, v in load_file(f).items()}
    before = {canonical_name(name): tensor for name, tensor in stored.items()}
    after = load_file(output / "model.safetensors")
    moved = {k for k in after if not torch.equal(after[k].float(), before[k].float())}
    assert moved
    assert all(name.startswith(("multi_axis_head.", "scalar_head.")) for name in moved)


@pytest.mark.parametrize("part", ["heads", "lora", "full"])
def test_scores_are_the_same_before_and_after_saving(pairs: Path, tmp_path: Path, part) -> None:
    """The model in memory against the one read back; merged adapters add in another order."""
    options = TrainOptions(part=part)
    base = open_base(CHECKPOINT, tmp_path, options, torch.device("cpu"))
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in trainable(base.model).values():
            parameter.add_(torch.randn_like(parameter) * 0.02)
    export(base.model, base.checkpoint, tmp_path, 8)
    loaded = LibreHPS.from_pretrained(tmp_path, device="cpu", dtype="float32")
    original = LibreHPS.from_pretrained(CHECKPOINT, device="cpu", dtype="float32")
    for pair in read_preferences(pairs).pairs[:3]:
        item = Item("x", pair.media_a, pair.prompt)
        prepared = base.decoder.decode(item).prepared
        with torch.no_grad():
            inside = base.model.eval()(collate([prepared], base.device)).mu[0, 0].item()
        score = loaded.score_image(pair.media_a, pair.prompt).overall.raw_mean
        assert score == pytest.approx(inside, abs=1e-4 if part == "lora" else 1e-6)
        assert abs(score - original.score_image(pair.media_a, pair.prompt).overall.raw_mean) > 1e-3


def saved_step(output: Path) -> int:
    """Of the state a resumed run would take up; 0 where there is none, or it is being replaced."""
    try:
        place = find_state(output / "state")
        return 0 if place is None else int(read_progress(place)["step"])
    except FileNotFoundError:
        return 0


@pytest.mark.slow
@pytest.mark.parametrize("part", ["lora", "full"])
def test_killed_and_resumed_is_bit_equal(pairs: Path, tmp_path: Path, part: str, cli: Cli) -> None:
    extra = ("--part", part, "--steps", 14, "--batch-size", 3, "--save-every", 2, "--eval-every", 5)
    assert cli(*command(pairs, tmp_path / "whole", *extra)).returncode == 0
    output, at = tmp_path / "killed", random.randint(1, 12)
    child = subprocess.Popen(
        [sys.executable, "-m", "librehps_cli", *command(pairs, output, *extra)],
        stderr=subprocess.PIPE,
    )
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and child.poll() is None and saved_step(output) < at:
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert saved_step(output) < 14, "the run was over before it was killed"
    resumed = cli(*command(pairs, output, *extra, "--resume"))
    assert resumed.returncode == 0, resumed.stderr
    for name in ("model.safetensors", "state/state.safetensors"):
        ours, theirs = load_file(output / name), load_file(tmp_path / "whole" / name)
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[k], theirs[k]) for k in ours), f"killed at step {at}"
    steps = [line["step"] for line in metrics(output)]
    assert steps == sorted(set(steps)) == [line["step"] for line in metrics(tmp_path / "whole")]
    again = cli(*command(pairs, output, *extra, "--resume"))
    assert again.returncode == 0


def test_a_run_is_not_resumed_as_another(pairs: Path, tmp_path: Path, cli: Cli) -> None:
    extra = ("--part", "heads", "--steps", 3)
    assert cli(*command(pairs, tmp_path / "o", *extra)).returncode == 0
    other = cli(*command(pairs, tmp_path / "o", *extra, "--seed", 1, "--resume"))
    assert other.returncode == 1
    assert "started with other seed" in other.stderr
    again = cli(*command(pairs, tmp_path / "o", *extra))
    assert again.returncode == 2
    assert "--resume" in again.stderr
    (tmp_path / "o" / "thesis.docx").touch()
    replaced = cli(*command(pairs, tmp_path / "o", *extra, "--overwrite"))
    assert replaced.returncode == 2
    assert "thesis.docx" in replaced.stderr


@pytest.mark.slow
def test_two_processes_share_a_batch(pairs: Path, tmp_path: Path) -> None:
    """Each takes its half, and both step along the mean of their gradients."""
    output = tmp_path / "two"
    extra = ("--part", "full", "--steps", 1, "--batch-size", 3, "--clip", 1e6)
    launch = ("torch.distributed.run", "--nproc-per-node", "2", "-m", "librehps_cli")
    done = subprocess.run(
        [sys.executable, "-m", *launch, *command(pairs, output, *extra)],
        capture_output=True,
        text=True,
        timeout=200,
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
    """Of the first step, computed here, one process' share after the other."""
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


def test_a_plain_backbone_gets_heads_and_a_reward_token(
    pairs: Path, tmp_path: Path, cli: Cli
) -> None:
    plain = tmp_path / "plain"
    plain.mkdir()
    tensors = {k: v for f in CHECKPOINT.glob("*.safetensors") for k, v in load_file(f).items()}
    save_file({k: v for k, v in tensors.items() if "_head." not in k}, plain / "model.safetensors")
    shutil.copy(CHECKPOINT / "config.json", plain)
    spec = json.loads((CHECKPOINT / "tokenizer.json").read_text())
    spec["added_tokens"] = [t for t in spec["added_tokens"] if t["content"] != "<|Reward|>"]
    (plain / "tokenizer.json").write_text(json.dumps(spec))
    output = tmp_path / "out"
    done = cli(*command(pairs, output, "--part", "lora", "--steps", 3, model=plain))
    assert done.returncode == 0, done.stderr
    trained = LibreHPS.from_pretrained(output, device="cpu")
    score = trained.score_image(pairs.parent / "0a.png", "a scene")
    assert math.isfinite(score.overall.raw_mean)
    added = json.loads((output / "tokenizer.json").read_text())["added_tokens"]
    assert sum(token["content"] == "<|Reward|>" for token in added) == 1


def test_broken_media_are_left_out_and_named(tmp_path: Path, cli: Cli) -> None:
    pairs = brightness_pairs(tmp_path, 30)
    (tmp_path / "4b.png").write_bytes(b"")
    done = cli(*command(pairs, tmp_path / "o", "--part", "heads", "--steps", 2))
    assert done.returncode == 0, done.stderr
    assert "4b.png is empty" in done.stderr


def test_too_few_pairs_for_a_step(pairs: Path, tmp_path: Path, cli: Cli) -> None:
    done = cli(*command(pairs, tmp_path / "o", "--part", "heads", "--batch-size", 64))
    assert done.returncode == 1
    assert "do not fill one step of 64" in done.stderr


@pytest.mark.parametrize("sigma", ["plain", "aware"])
def test_sigma_learns(pairs: Path, tmp_path: Path, cli: Cli, sigma: str) -> None:
    output = tmp_path / "o"
    done = cli(*command(pairs, output, "--part", "heads", "--steps", 20, "--sigma", sigma))
    assert done.returncode == 0, done.stderr
    # Plain trains sigma by its own term; aware, by the pair loss that holds it.
    term = "sigma" if sigma == "plain" else "pairs"
    terms = [line[term] for line in metrics(output) if term in line]
    assert terms[-1] < terms[0]
