"""Training: losses, rates, the split, and what is saved."""

import math
from pathlib import Path

import pytest
import torch

from conftest import CHECKPOINT
from librehps import LibreHPS
from librehps.models.librehps.batch import collate
from librehps.preferences.read import read_preferences
from librehps.train import losses
from librehps.train.base import open_base, trainable
from librehps.train.export import export
from librehps.train.options import TrainOptions, rate_factor, split
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


def test_no_prompt_is_on_both_sides(pairs: Path) -> None:
    kept, held_out = split(read_preferences(pairs).pairs, 0.2)
    assert kept
    assert held_out
    assert not {p.prompt for p in kept} & {p.prompt for p in held_out}
    assert len(kept) + len(held_out) == 40


@pytest.mark.slow
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
