"""The stages of a run, each timed by itself: decode, transfer, forward, write, and all together."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import cycle, islice, repeat
from pathlib import Path
from typing import TypeVar

import torch

from librehps.bench.clock import Clock
from librehps.engine.decode import Decoded, Decoder
from librehps.engine.device import is_full, lanes_of
from librehps.engine.engine import default_workers
from librehps.models.base import Prepared
from librehps.models.librehps.backbone import RewardModel
from librehps.models.librehps.batch import collate
from librehps.scorer import LibreHPS
from librehps.scores.row import to_record
from librehps.scores.writer import open_sink
from librehps.settings import Settings
from librehps.types import ImageScore, Item, ScoreAxis, ScoredRow

T = TypeVar("T")
_HOST = Clock(torch.device("cpu"))


@dataclass(frozen=True)
class DecodeRate:
    """Images/s: opened, resized and tokenised, by one thread and by a thread a core."""

    one_thread: float
    all_workers: float
    workers: int


@dataclass(frozen=True)
class ForwardRate:
    """Images/s of a batch size: `forward` the model, `collate` what makes its inputs."""

    batch_size: int
    forward: float
    collate: float


@dataclass(frozen=True)
class RunRate:
    """Images/s from files to Parquet; `errors` counts rows without a score."""

    images_per_s: float
    batch_size: int
    errors: int


def decode_rate(decoder: Decoder, items: Sequence[Item]) -> tuple[DecodeRate, list[Decoded]]:
    """And what it decoded; raises ItemError."""
    workers = default_workers()
    decoder.decode(items[0])
    decoded: list[Decoded] = []
    with _torch_threads(1), ThreadPoolExecutor(workers) as pool:
        alone = _HOST.seconds(lambda: decoded.extend(map(decoder.decode, items)))
        together = _HOST.seconds(lambda: list(pool.map(decoder.decode, items)))
    return DecodeRate(len(items) / alone, len(items) / together, workers), decoded


def transfer_rate(clock: Clock, prepared: Sequence[Prepared], repeats: int) -> float | None:
    """Images/s of uint8 pixels to the device; None on a CPU, where they stay."""
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
    """Each batch size's, rising; ends at the first that does not fit in memory."""
    for size in batch_sizes:
        batch = list(islice(cycle(prepared), size))
        rate = _unless_out_of_memory(partial(_forward_rate, model, clock, batch, repeats))
        if rate is None:
            return
        yield rate


def write_rate(output: Path, settings: Settings, item: Item, rows: int) -> float:
    """Rows/s into a new file."""
    axis = ScoreAxis(mean=0.5, sigma=1.0, raw_mean=0.0)
    score = ImageScore(dict.fromkeys(settings.axes, axis), scalar=0.0)
    row = ScoredRow(item, "image", score, width=1024, height=1024, prompt_tokens=30)
    return rows / _HOST.seconds(lambda: _save(repeat(row, rows), output, settings))


def run_rate(
    scorer: LibreHPS, items: Sequence[Item], batch_size: int | None, output: Path
) -> RunRate | None:
    """From files to a Parquet file, after a few as a warm-up; None where memory runs out.

    `batch_size` None: the scorer's own.
    """
    size = min(batch_size or scorer.batch_size, len(items))

    def run() -> RunRate:
        list(scorer.score_items(items[:size], batch_size))
        start = time.perf_counter()
        errors = _save(scorer.score_items(items, batch_size), output, scorer.settings)
        return RunRate(len(items) / (time.perf_counter() - start), size, errors)

    return _unless_out_of_memory(run)


def _save(rows: Iterable[ScoredRow], output: Path, settings: Settings) -> int:
    """Write the rows; gives how many are errors."""
    errors = 0
    with open_sink(output, settings) as sink:
        for row in rows:
            errors += row.score is None
            sink.write(to_record(row, settings))
    return errors


def _forward_rate(
    model: RewardModel, clock: Clock, batch: list[Prepared], repeats: int
) -> ForwardRate:
    inputs = collate(batch, clock.device)
    # On a CPU the engine runs a batch on each core.
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
        _torch_threads(1 if lanes > 1 else torch.get_num_threads()),
        ThreadPoolExecutor(lanes, initializer=torch.set_num_threads, initargs=(1,)) as pool,
    ):
        laid_out = clock.median(lambda: collate(batch, clock.device), repeats)
        took = clock.median(forward, repeats)
    return ForwardRate(len(batch), lanes * len(batch) / took, len(batch) / laid_out)


def _unless_out_of_memory(call: Callable[[], T]) -> T | None:
    """What `call` gives, or None where the memory does not suffice."""
    try:
        return call()
    except RuntimeError as error:
        if not is_full(error):
            raise
    # Out of the handler, since the error holds on to what the call had made.
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return None


@contextmanager
def _torch_threads(count: int) -> Iterator[None]:
    """Torch's operations on `count` threads each, so that a decoding thread is one core."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
