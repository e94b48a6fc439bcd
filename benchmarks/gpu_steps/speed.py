"""Forward speed and peak memory of a random model, with one lever changed at a time."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import nn

from gpu_steps.accuracy import kernels, using
from gpu_steps.base import Figures, Skipped, Where
from librehps import LibreHPS
from librehps.bench.clock import Clock, matmul_gflops
from librehps.bench.configs import config_of
from librehps.bench.flops import count
from librehps.bench.measure import measure
from librehps.bench.random_model import random_scorer
from librehps.bench.workload import Workload, make_items
from librehps.engine.device import is_full
from librehps.errors import AttentionError, ExtraNeededError, UsageError
from librehps.models.attention import Host, candidates
from librehps.models.base import Prepared
from librehps.models.device import choose_dtype
from librehps.models.kernels.choice import on_kernels
from librehps.models.librehps.batch import collate, grid_of
from librehps.models.librehps.footprint import footprint_of
from librehps.models.memory_need import Mode

SIZES = {"cuda": (1, 8, 32, 64)}
CPU_SIZES = (1, 2)
REPEATS = 3
SIDE, SMALL_SIDE = 1024, 128
PICTURES = 4
# Ten batches: the first waits for its files to be decoded.
RUN_PICTURES = 320
PROFILED_KERNELS = 12


@dataclass(frozen=True)
class Lever:
    """A change of how the model runs: arguments of `random_scorer`, the kernel, the embedding."""

    arguments: dict[str, Any] = field(default_factory=dict)
    kernel: str | None = None
    embedding_on_device: bool = False

    def context(self) -> AbstractContextManager[object]:
        return nullcontext() if self.kernel is None else using(self.kernel)


def stages(where: Where) -> Figures:
    """Return the figures of `librehps bench`: each stage, and from files to Parquet."""
    quick = where.device == "cpu"
    workload = Workload(
        images=4 if quick else RUN_PICTURES,
        width=_side(where.device),
        height=_side(where.device),
        batch_sizes=_sizes(where.device),
        repeats=1 if quick else REPEATS,
        rows=100,
        quick=quick,
    )
    return measure(random_scorer(where.config, device=where.device), workload).record()


def forward(where: Where, lever: Lever) -> Figures:
    """Return images/s, share of the matmul ceiling and peak memory by batch size.

    `first_forward_s` includes the compilation of kernels.
    """
    if lever.kernel is not None and lever.kernel not in kernels(where.device):
        raise Skipped(f"the kernels {lever.kernel} do not run here")
    if lever.arguments.get("attn_impl") == _default_attention(where.device):
        raise Skipped("this is the default attention here: see the step forward")
    with lever.context():
        try:
            scorer = random_scorer(where.config, device=where.device, **lever.arguments)
        except (AttentionError, ExtraNeededError, UsageError) as error:
            raise Skipped(str(error)) from error
        if lever.embedding_on_device:
            _move_embedding(scorer)
        figures = _forward(scorer)
    footprint = footprint_of(config_of(where.config))
    mode = Mode(scorer.settings.weights, scorer.dtype)
    for row in figures["batches"]:
        # What `librehps info --memory` says of this batch size.
        need = footprint.need(mode, scorer.device, row["batch_size"])
        row["estimated_gb"] = need.total / 1e9
    return figures


def _default_attention(device: str) -> str:
    kind = torch.device(device)
    return candidates("auto", Host.of(kind, choose_dtype(None, kind)[0]))[0].implementation


def _move_embedding(scorer: LibreHPS) -> None:
    """Hold the embedding's table on the device, where it otherwise stays in CPU memory."""
    text = scorer._model.network.model.language_model
    table = text.embed_tokens.read(torch.arange(text.embed_tokens.num_embeddings))
    text.embed_tokens = nn.Embedding.from_pretrained(table.to(scorer.device))
    scorer._model.embedding = None


def _forward(scorer: LibreHPS) -> Figures:
    device, network = scorer.device, scorer._model.network
    clock, items = Clock(device), pictures(scorer)
    flops = count(network.model.config, grid_of(items[0].pixels), items[0].cost).total
    figures: Figures = {
        "model": {
            name: getattr(scorer.settings, name)
            for name in ("dtype", "weights", "attention", "delta_rule")
        },
        "resident_gb": _allocated(device) / 1e9,
        "gflop_per_image": flops / 1e9,
        "matmul_gflops": matmul_gflops(clock, scorer.dtype, device.type == "cpu"),
        "batches": [],
    }
    if "compile" in scorer.reasons:
        figures["compile"] = scorer.reasons["compile"]
    start = time.perf_counter()
    _scores(scorer, items[:1])
    figures["first_forward_s"] = time.perf_counter() - start
    for size in _sizes(device.type):
        batch = list(islice(cycle(items), size))
        try:
            figures["batches"].append(_rate(scorer, clock, batch, flops, figures["matmul_gflops"]))
        except RuntimeError as error:
            if not is_full(error):
                raise
            figures["out_of_memory_at"] = size
            break
    if figures["batches"]:
        best = max(figures["batches"], key=lambda row: row["images_per_s"])
        figures["best"] = best
        batch = list(islice(cycle(items), best["batch_size"]))
        figures["parts"] = _parts(scorer, clock, batch)
        figures["profile"] = profile(lambda: _scores(scorer, batch), device)
    return figures


def pictures(scorer: LibreHPS) -> list[Prepared]:
    """Return prepared pictures under a prompt of 30 tokens."""
    side = _side(scorer.device.type)
    workload = Workload(images=PICTURES, width=side, height=side)
    with TemporaryDirectory() as folder:
        decoder = scorer._decoder()
        items = make_items(Path(folder), workload, decoder.processor)
        return [decoder.decode(item).prepared for item in items]


def _scores(scorer: LibreHPS, batch: list[Prepared]) -> list:
    return scorer._model.launch(batch)()


def _rate(
    scorer: LibreHPS, clock: Clock, batch: list[Prepared], flops: int, matmul: float
) -> Figures:
    device = scorer.device
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    took = clock.median(lambda: _scores(scorer, batch), REPEATS)
    rate = len(batch) / took
    return {
        "batch_size": len(batch),
        "images_per_s": rate,
        "share_of_matmul": rate * flops / 1e9 / matmul,
        "peak_gb": _peak(device) / 1e9,
    }


def _parts(scorer: LibreHPS, clock: Clock, batch: list[Prepared]) -> Figures:
    """Return the seconds of the inputs, the vision tower, and the whole network."""
    network = scorer._model.network
    with torch.inference_mode(), on_kernels(network.uses_kernels):
        lay_out = partial(collate, batch, scorer.device, scorer._model.embedding)
        inputs = lay_out()
        return {
            "inputs_s": clock.median(lay_out, REPEATS),
            "vision_s": clock.median(lambda: network.vision_tokens(inputs), REPEATS),
            "network_s": clock.median(lambda: network(inputs), REPEATS),
        }


def profile(call: Callable[[], object], device: torch.device) -> Figures:
    """Return the share of the device's busy time of each operator, the largest first.

    `busy_share` is the device's busy time over the wall time: below 1 the device waits for Python.
    """
    activities = [torch.profiler.ProfilerActivity.CPU]
    cuda = device.type == "cuda"
    if cuda:
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    call()
    with torch.profiler.profile(activities=activities) as measured:
        start = time.perf_counter()
        call()
        wall = time.perf_counter() - start
    name = "self_device_time_total" if cuda else "self_cpu_time_total"
    # On a GPU the rows of kernels and of the operators that started them hold the same time.
    rows = [
        row
        for row in measured.key_averages()
        if not cuda or row.device_type == torch.autograd.DeviceType.CUDA
    ]
    rows.sort(key=lambda row: -getattr(row, name))
    busy = sum(getattr(row, name) for row in rows) / 1e6
    return {
        "wall_s": wall,
        "busy_share": busy / wall,
        "kernels": [
            {
                "name": row.key[:100],
                "share": getattr(row, name) / 1e6 / max(busy, 1e-9),
                "calls": row.count,
            }
            for row in rows[:PROFILED_KERNELS]
        ],
    }


def _side(device: str) -> int:
    return SMALL_SIDE if torch.device(device).type == "cpu" else SIDE


def _sizes(device: str) -> tuple[int, ...]:
    return SIZES.get(torch.device(device).type, CPU_SIZES)


def _allocated(device: torch.device) -> int:
    return torch.cuda.memory_allocated(device) if device.type == "cuda" else 0


def _peak(device: torch.device) -> int:
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0
