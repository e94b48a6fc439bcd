"""Sizes, arithmetic and stages of `bench`; nothing here depends on how fast the machine is."""

import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import get_args

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from conftest import CHECKPOINT
from librehps import LibreHPS
from librehps.bench import stages
from librehps.bench.clock import Clock
from librehps.bench.configs import config_of
from librehps.bench.flops import Flops, count
from librehps.bench.measure import measure
from librehps.bench.random_model import random_scorer
from librehps.bench.workload import PROMPT_TOKENS, Workload, make_items
from librehps.choices import BenchConfig
from librehps.engine.device import is_full
from librehps.errors import UsageError
from librehps.models.base import ProcessorOptions
from librehps.models.families import open_checkpoint
from librehps.models.librehps.batch import collate, grid_of
from librehps.models.librehps.checkpoint import empty_model
from librehps.models.librehps.heads import run_heads

# 1024 x 1024 is read as 448 x 448.
PUBLISHED_GRID = (1, 28, 28)
SMALL = Workload(images=3, width=200, height=160, batch_sizes=(1, 2), repeats=1, rows=5, quick=True)


def flops_of(name: str, tokens: int) -> Flops:
    return count(empty_model(config_of(name), "sdpa").model.config, PUBLISHED_GRID, tokens)


@pytest.fixture(scope="module")
def random_tiny() -> LibreHPS:
    return random_scorer("tiny", attn_impl="eager", device="cpu")


def test_published_size() -> None:
    parameters = sum(p.numel() for p in empty_model(config_of("4b"), "sdpa").parameters())
    assert parameters == pytest.approx(4.54e9, rel=1e-3)
    assert flops_of("4b", 236).total == pytest.approx(2.27e12, rel=0.01)


def test_small_size() -> None:
    """The known figure of 20.7 GFLOP is that of the products with weights, at 223 tokens.

    Counters see no SDPA on a CPU: the squares of attention, 4 GFLOP here, are missing in it.
    """
    parts = flops_of("47m", 223)
    beside = parts.vision_attention + parts.full_attention + parts.delta_rule
    assert parts.total - beside == pytest.approx(20.7e9, rel=0.01)
    assert parts.total == pytest.approx(25.4e9, rel=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("which", ["golden", "tiny"])
def test_arithmetic_is_what_torch_counts(which: str, tmp_path: Path) -> None:
    """Torch sees neither the triangular solves nor the convolution, which runs as multiply-adds."""
    scorer = LibreHPS.from_pretrained(
        CHECKPOINT if which == "golden" else "tiny", "eager", device="cpu", dtype="float32"
    )
    decoder = scorer._decoder()
    one = decoder.decode(make_items(tmp_path, SMALL, decoder.processor)[0]).prepared
    network, batch = scorer._model.network, collate([one], scorer.device)
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        # Of all tokens, as counted: the forward itself computes the last layer for one token.
        states = network.hidden_states(batch, network.vision_tokens(batch))
        run_heads(network.multi_axis_head, network.scalar_head, states[:, -1])
    config = network.model.config
    counted = count(config, grid_of(one.pixels), one.cost)
    assert counted.total == pytest.approx(counter.get_total_flops(), rel=0.02)


def test_time_steps_see_no_other(golden: LibreHPS) -> None:
    config = golden._model.network.model.config
    one, three = (count(config, (steps, 4, 6), 50) for steps in (1, 3))
    assert three.vision_attention == 3 * one.vision_attention
    assert three.delta_rule == one.delta_rule


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", ["tiny", "47m"])
def test_random_weights_give_finite_scores(name: str, dtype: str, tmp_path: Path) -> None:
    scorer = random_scorer(name, device="cpu", dtype=dtype)
    two = replace(SMALL, images=2)
    items = make_items(tmp_path, two, open_checkpoint(CHECKPOINT).processor(ProcessorOptions()))
    rows = list(scorer.score_items(items))
    assert [row.error for row in rows] == [None, None]
    assert len({row.score.overall.raw_mean for row in rows if row.score}) == 2


def test_random_weights_are_the_same_each_time(random_tiny: LibreHPS) -> None:
    again = random_scorer("tiny", device="cpu")
    for a, b in zip(
        random_tiny._model.network.parameters(), again._model.network.parameters(), strict=True
    ):
        assert torch.equal(a, b)


def test_every_config_fits_the_tokenizer(random_tiny: LibreHPS) -> None:
    last = max(random_tiny._processor.encoder.control.values())
    assert all(
        config_of(name)["text_config"]["vocab_size"] > last for name in get_args(BenchConfig)
    )
    with pytest.raises(UsageError, match="config: expected 4b, 47m or tiny, got '5b'"):
        config_of("5b")


def test_pictures_are_as_asked(random_tiny: LibreHPS, tmp_path: Path) -> None:
    for kind, start in (("jpeg", b"\xff\xd8"), ("png", b"\x89PNG")):
        asked = Workload(images=2, width=96, height=64, format=kind)  # type: ignore[arg-type]
        items = make_items(tmp_path, asked, random_tiny._processor)
        first, second = (item.media.read_bytes() for item in items)
        assert first.startswith(start) and first != second
        decoded = random_tiny._decoder().decode(items[0])
        assert (decoded.width, decoded.height) == (96, 64)
        assert PROMPT_TOKENS <= decoded.prompt_tokens < PROMPT_TOKENS + 15


@pytest.mark.parametrize(
    "wrong",
    [
        {"width": 3000, "height": 10},
        {"width": 60_000, "height": 60_000},
        {"width": 70_000, "height": 1000},
        {"images": 0},
        {"batch_sizes": (4, 0)},
    ],
)
def test_what_cannot_be_measured_is_refused(wrong: dict) -> None:
    with pytest.raises(UsageError):
        Workload(**wrong)


def test_sweeps_rise() -> None:
    assert Workload(batch_sizes=(8, 1, 8)).sweep("cuda") == (1, 8)
    for device in ("cpu", "cuda", "mps"):
        sweep = Workload().sweep(device)
        assert list(sweep) == sorted(sweep) and sweep[0] == 1


def test_figures_fit_together(random_tiny: LibreHPS) -> None:
    measured = measure(random_tiny, SMALL)
    assert [rate.batch_size for rate in measured.forward] == [1, 2]
    assert measured.transfer is None and measured.notes == []
    assert measured.run is not None and measured.best is not None
    assert measured.run.errors == 0 and measured.run.batch_size == SMALL.images
    assert measured.decode_cores == math.ceil(measured.best.forward / measured.decode.one_thread)
    assert sum(measured.record()["gflop_by_part"].values()) * 1e9 == pytest.approx(
        sum(asdict(measured.flops).values())
    )


def runs_out(at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    collate = stages.collate

    def limited(items: list, device: torch.device, embedding: object) -> object:
        if len(items) >= at:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return collate(items, device, embedding)

    monkeypatch.setattr(stages, "collate", limited)


def test_out_of_memory_ends_the_sweep(
    random_tiny: LibreHPS, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs_out(2, monkeypatch)
    measured = measure(random_tiny, SMALL)
    assert [rate.batch_size for rate in measured.forward] == [1]
    assert measured.notes == ["out of memory at batch size 2"]
    assert measured.run is not None and measured.run.batch_size == 1


def test_nothing_fits(random_tiny: LibreHPS, monkeypatch: pytest.MonkeyPatch) -> None:
    runs_out(1, monkeypatch)
    record = measure(random_tiny, SMALL).record()
    assert record["forward"] == []
    assert record["end_to_end"] is record["decode_cores"] is record["best_batch_size"] is None
    assert record["notes"] == ["out of memory at batch size 1", "end to end: out of memory"]


def test_other_errors_are_not_taken_for_memory(
    random_tiny: LibreHPS, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(stages, "collate", broken)
    with pytest.raises(RuntimeError, match="shapes"):
        measure(random_tiny, SMALL)
    assert is_full(RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes"))


def test_threads_are_given_back(random_tiny: LibreHPS, tmp_path: Path) -> None:
    before = torch.get_num_threads()
    decoder = random_tiny._decoder()
    stages.decode_rate(decoder, make_items(tmp_path, SMALL, decoder.processor))
    assert torch.get_num_threads() == before


def test_transfer_is_timed_off_the_cpu_only() -> None:
    assert stages.transfer_rate(Clock(torch.device("cpu")), [], 1) is None


def test_the_median_leaves_out_the_first_call() -> None:
    calls: list[int] = []
    Clock(torch.device("cpu")).median(lambda: calls.append(1), 3)
    assert len(calls) == 4
