"""Measure the speed of all stages of a model, and derive combined figures."""

import math
import platform
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from librehps import __version__
from librehps.bench.clock import Clock, gflops_by_dtype, matmul_gflops
from librehps.bench.flops import Flops, count
from librehps.bench.stages import (
    DecodeRate,
    ForwardRate,
    RunRate,
    decode_rate,
    forward_rates,
    run_rate,
    transfer_rate,
    write_rate,
)
from librehps.bench.workload import Workload, make_items
from librehps.engine.decode import Decoded
from librehps.engine.engine import default_workers
from librehps.errors import UsageError
from librehps.models.device_list import devices_of
from librehps.models.librehps.backbone import RewardModel
from librehps.models.librehps.batch import grid_of
from librehps.models.librehps.model import LibreHPSModel
from librehps.models.stored_embedding import off_device
from librehps.scorer import LibreHPS
from librehps.types import Item


@dataclass(frozen=True)
class Measured:
    """The figures of a benchmark: rates in images/s (`write`: rows/s), `matmul` in GFLOP/s.

    `transfer` is None on a CPU, `by_dtype` (GFLOP/s) elsewhere; `run` is None if no batch size fits
    in memory.
    """

    machine: dict[str, Any]
    model: dict[str, Any]
    pictures: dict[str, Any]
    flops: Flops
    matmul: float
    by_dtype: dict[str, float] | None
    decode: DecodeRate
    transfer: float | None
    forward: list[ForwardRate]
    write: float
    run: RunRate | None
    notes: list[str]

    @property
    def best(self) -> ForwardRate | None:
        """The forward rate of the fastest batch size."""
        return max(self.forward, key=lambda rate: rate.forward, default=None)

    @property
    def decode_cores(self) -> int | None:
        """The number of cores that decode as fast as the fastest forward scores."""
        return None if self.best is None else math.ceil(self.best.forward / self.decode.one_thread)

    @property
    def faster_dtype(self) -> str | None:
        """The dtype of the faster matrix products on a CPU."""
        return None if self.by_dtype is None else max(self.by_dtype, key=self.by_dtype.__getitem__)

    def record(self) -> dict[str, Any]:
        """Return all figures as a JSON object."""
        run, best = self.run, self.best
        return {
            "machine": self.machine,
            "model": self.model,
            "images": self.pictures,
            "gflop_per_image": self.flops.total / 1e9,
            "gflop_by_part": {name: n / 1e9 for name, n in asdict(self.flops).items()},
            "matmul_gflops": self.matmul,
            "matmul_gflops_by_dtype": self.by_dtype,
            "faster_dtype": self.faster_dtype,
            "decode": asdict(self.decode),
            "transfer": self.transfer,
            "forward": [
                {
                    "batch_size": rate.batch_size,
                    "images_per_s": rate.forward,
                    **self.arithmetic(rate.forward),
                    "collate": rate.collate,
                }
                for rate in self.forward
            ],
            "best_batch_size": best and best.batch_size,
            "write_rows_per_s": self.write,
            "end_to_end": run and {**asdict(run), **self.arithmetic(run.images_per_s)},
            "decode_cores": self.decode_cores,
            "notes": self.notes,
        }

    def arithmetic(self, images_per_s: float) -> dict[str, float]:
        """Return a rate in GFLOP/s, and its share of the matrix product's GFLOP/s."""
        gflops = images_per_s * self.flops.total / 1e9
        return {"gflops": gflops, "share_of_matmul": gflops / self.matmul}


def measure(
    scorer: LibreHPS, workload: Workload, say: Callable[[str], None] = lambda _: None
) -> Measured:
    """Return the figures of all stages; `say` receives progress messages. Raises ItemError."""
    with tempfile.TemporaryDirectory(prefix="librehps-bench-") as name:
        return _measure(scorer, workload, Path(name), say)


def _measure(
    scorer: LibreHPS, workload: Workload, folder: Path, say: Callable[[str], None]
) -> Measured:
    model, decoder, clock = _network(scorer), scorer._decoder(), Clock(scorer.device)
    notes: list[str] = []
    say(f"making {workload.images} images")
    items = make_items(folder, workload, decoder.processor)
    matmul = matmul_gflops(clock, scorer.dtype, workload.quick)
    say("decoding")
    decode, decoded = decode_rate(decoder, items)
    prepared = [one.prepared for one in decoded]
    transfer = transfer_rate(clock, prepared, workload.repeats)
    sizes = workload.sweep(scorer.device.type)
    say(f"forward, batch sizes {', '.join(map(str, sizes))}")
    forward = list(forward_rates(model, clock, prepared, sizes, workload.repeats))
    if len(forward) < len(sizes):
        notes.append(f"out of memory at batch size {sizes[len(forward)]}")
    write = write_rate(folder / "rows.parquet", scorer.settings, items[0], workload.rows)
    say("end to end")
    run = _run(scorer, items, forward, len(forward) < len(sizes), folder / "run.parquet", notes)
    # Measured twice: load and heat change the speed of a machine during a benchmark.
    matmul = max(matmul, matmul_gflops(clock, scorer.dtype, workload.quick))
    return Measured(
        machine=_machine(scorer.device),
        model=_model(scorer),
        pictures=_pictures(workload, decoded[0]),
        flops=count(model.model.config, grid_of(prepared[0].pixels), prepared[0].cost),
        matmul=matmul,
        by_dtype=gflops_by_dtype(clock),
        decode=decode,
        transfer=transfer,
        forward=forward,
        write=write,
        run=run,
        notes=notes,
    )


def one_device(request: str) -> str:
    """Return the only device that is asked for; raises UsageError for several."""
    device, *others = devices_of(request)
    if others:
        raise UsageError(f"bench: expected one device, got {request}", hint="Name one of them.")
    return str(device)


def _network(scorer: LibreHPS) -> RewardModel:
    if not isinstance(scorer._model, LibreHPSModel):
        raise UsageError(
            f"bench: unsupported model {scorer.settings.model} (expected a LibreHPS checkpoint)"
        )
    return scorer._model.network


def _run(
    scorer: LibreHPS,
    items: list[Item],
    forward: list[ForwardRate],
    ran_out: bool,
    output: Path,
    notes: list[str],
) -> RunRate | None:
    """Return the end-to-end rate at the scorer's batch size or the largest that fits, or None."""
    run = None
    if not ran_out:
        run = run_rate(scorer, items, None, output)
    elif forward:
        run = run_rate(scorer, items, min(scorer.batch_size, forward[-1].batch_size), output)
    if run is None:
        notes.append("end to end: out of memory")
    elif run.errors:
        notes.append(f"end to end: {run.errors} of {len(items)} images have no score")
    return run


def _machine(device: torch.device) -> dict[str, Any]:
    cuda = device.type == "cuda"
    return {
        "device": str(device),
        "name": torch.cuda.get_device_name(device) if cuda else _processor(),
        "cores": default_workers(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda if cuda else None,
        "librehps": __version__,
    }


def _processor() -> str:
    """Return the processor's name; on Linux from /proc/cpuinfo."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _model(scorer: LibreHPS) -> dict[str, Any]:
    settings = scorer.settings
    return {
        "name": settings.model,
        "fingerprint": settings.fingerprint,
        "parameters": _parameters(_network(scorer)),
        "dtype": settings.dtype,
        "weights": settings.weights,
        "attention": settings.attention,
        "delta_rule": settings.delta_rule,
    }


def _parameters(network: RewardModel) -> int:
    """Return the number of parameters, with those of an embedding off the device.

    Those of quantised layers are counted as before, where two share a byte.
    """
    embedding = off_device(network.model.language_model)
    held = 0 if embedding is None else embedding.num_embeddings * embedding.embedding_dim
    linears = [module for module in network.modules() if isinstance(module, nn.Linear)]
    packed = sum(linear.weight.numel() for linear in linears)
    whole = sum(linear.in_features * linear.out_features for linear in linears)
    return held + sum(p.numel() for p in network.parameters()) - packed + whole


def _pictures(workload: Workload, one: Decoded) -> dict[str, Any]:
    height, width = one.prepared.pixels.shape[-2:]
    return {
        "count": workload.images,
        "width": workload.width,
        "height": workload.height,
        "format": workload.format,
        "model_width": width,
        "model_height": height,
        "tokens": one.prepared.cost,
        "vision_tokens": len(one.prepared.vision),
        "prompt_tokens": one.prompt_tokens,
    }
