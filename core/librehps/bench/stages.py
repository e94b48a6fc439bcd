"""Time each stage of a run (decode, transfer, forward, write) and the whole run."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import cycle, islice, repeat
from pathlib import Path
from typing import TypeVar

import torch

from librehps.bench.clock import Clock
from librehps.engine.decode import Decoded, Decoder
from librehps.engine.device import is_full
from librehps.engine.disk_cache import NO_CACHE
from librehps.engine.engine import default_workers
from librehps.engine.lanes import lanes_of
from librehps.models.base import Prepared
from librehps.models.librehps.backbone import RewardModel
from librehps.models.librehps.batch import collate
from librehps.models.stored_embedding import off_device
from librehps.models.threads import torch_threads
from librehps.scorer import LibreHPS
from librehps.scores.row import to_record
from librehps.scores.writer import open_sink
from librehps.settings import Settings
from librehps.types import ImageScore, Item, ScoreAxis, ScoredRow

T = TypeVar("T")
_CPU_CLOCK = Clock(torch.device("cpu"))


@dataclass(frozen=True)
class DecodeRate:
    """The decode rate in images/s, with one thread and with one thread per core."""

    one_thread: float
    all_workers: float
    workers: int


@dataclass(frozen=True)
class ForwardRate:
    """The rates of a batch size in images/s: the model's `forward`, and `collate`, its inputs."""

    batch_size: int
    forward: float
    collate: float


@dataclass(frozen=True)
class RunRate:
    """The rate from files to Parquet in images/s; `errors` counts rows without a score."""

    images_per_s: float
    batch_size: int
    errors: int


def decode_rate(decoder: Decoder, items: Sequence[Item]) -> tuple[DecodeRate, list[Decoded]]:
    """Return the decode rate and the decoded items; raises ItemError."""
    workers = default_workers()
    decoder.decode(items[0])
    decoded: list[Decoded] = []
    with torch_threads(1), ThreadPoolExecutor(workers) as pool:
        alone = _CPU_CLOCK.seconds(lambda: decoded.extend(map(decoder.decode, items)))
        together = _CPU_CLOCK.seconds(lambda: list(pool.map(decoder.decode, items)))
    return DecodeRate(len(items) / alone, len(items) / together, workers), decoded


def transfer_rate(clock: Clock, prepared: Sequence[Prepared], repeats: int) -> float | None:
    """Return images/s of copying uint8 pixels to the device; None on a CPU, without a copy."""
    if clock.device.type == "cpu":
        return None
    took = clock.median(lambda: [p.pixels.to(clock.device) for p in prepared], repeats)
    return len(prepared) / took


def forward_rates(
    model: RewardModel,
    clock: Clock,
    prepared: Sequence[Prepared],
    batch_sizes: Sequence[int],
    repeats: int,
) -> Iterator[ForwardRate]:
    """Yield the rate of each batch size; stops at the first that does not fit in memory."""
    for size in batch_sizes:
        batch = list(islice(cycle(prepared), size))
        rate = _unless_out_of_memory(partial(_forward_rate, model, clock, batch, repeats))
        if rate is None:
            return
        yield rate


def write_rate(output: Path, settings: Settings, item: Item, rows: int) -> float:
    """Return rows/s of writing a new file."""
    axis = ScoreAxis(mean=0.5, sigma=1.0, raw_mean=0.0)
    score = ImageScore(dict.fromkeys(settings.axes, axis), scalar=0.0)
    row = ScoredRow(item, "image", score, width=1024, height=1024, prompt_tokens=30)
    return rows / _CPU_CLOCK.seconds(lambda: _save(repeat(row, rows), output, settings))


def run_rate(
    scorer: LibreHPS, items: Sequence[Item], batch_size: int | None, output: Path
) -> RunRate | None:
    """Return the rate from files to a Parquet file, after a warm-up batch; None if out of memory.

    `batch_size` None: the scorer's own batch size.
    """
    size = min(batch_size or scorer.batch_size, len(items))

    def run() -> RunRate:
        list(scorer.score_items(items[:size], batch_size, cache=NO_CACHE))
        start = time.perf_counter()
        rows = scorer.score_items(items, batch_size, cache=NO_CACHE)
        errors = _save(rows, output, scorer.settings)
        return RunRate(len(items) / (time.perf_counter() - start), size, errors)

    return _unless_out_of_memory(run)


def _save(rows: Iterable[ScoredRow], output: Path, settings: Settings) -> int:
    """Write the rows; returns the number of error rows."""
    errors = 0
    with open_sink(output, settings) as sink:
        for row in rows:
            errors += row.score is None
            sink.write(to_record(row, settings))
    return errors


def _forward_rate(
    model: RewardModel, clock: Clock, batch: list[Prepared], repeats: int
) -> ForwardRate:
    embedding = off_device(model.model.language_model)
    inputs = collate(batch, clock.device, embedding)
    # On a CPU the engine runs one batch per core.
    lanes = lanes_of(clock.device, torch.get_num_threads()) if clock.device.type == "cpu" else 1

    @torch.inference_mode()
    def call(_: int) -> None:
        model(inputs)

    def forward() -> None:
        if lanes == 1:
            call(0)
        else:
            list(pool.map(call, range(lanes)))

    with (
        torch_threads(1 if lanes > 1 else torch.get_num_threads()),
        ThreadPoolExecutor(lanes, initializer=torch.set_num_threads, initargs=(1,)) as pool,
    ):
        laid_out = clock.median(lambda: collate(batch, clock.device, embedding), repeats)
        took = clock.median(forward, repeats)
    return ForwardRate(len(batch), lanes * len(batch) / took, len(batch) / laid_out)


def _unless_out_of_memory(call: Callable[[], T]) -> T | None:
    """Return the result of `call`, or None if out of memory."""
    try:
        return call()
    except RuntimeError as error:
        if not is_full(error):
            raise
    # Outside the handler, since the error keeps the call's tensors alive.
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return None
