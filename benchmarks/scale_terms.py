"""The terms of a run's cost that `benchmarks/scale.py` measures in one process."""

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle, islice
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from constant_model import ConstantDecoder, ConstantModel, ConstantScorer
from librehps import Item
from librehps.engine.content_key import content_keys
from librehps.engine.decode import NOT_PREPARED, Decoded
from librehps.engine.outcome import decoded_columns, scored_rows
from librehps.engine.outputs import Outputs
from librehps.errors import EmptyFileError
from librehps.items.ids import check_unique
from librehps.items.item_columns import ItemColumns
from librehps.items.source import Source
from librehps.models.base import Prepared
from librehps.models.raw_scores import RawScores
from librehps.runs.request import RunRequest
from librehps.runs.row_scores import RowScores
from librehps.scores.scored_rows import ScoredRows
from pace import Pace

WINDOW = 256
# Every such row is an error in the first run, and is retried.
ERROR_EVERY = 1000
TIMED_EVERY = 32
STATUS, PEAK_RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
Measured = dict[str, dict[str, float]]


class Terms:
    """CPU time and peak memory by term, for `rows` rows, and the pace of the machine meanwhile."""

    def __init__(self, rows: int) -> None:
        self.rows, self.found = rows, dict[str, dict[str, float]]()
        self.pace, self._since = Pace(), 0.0

    @contextmanager
    def term(self, name: str) -> Iterator[None]:
        """Measure CPU time and peak memory of the block."""
        self.begin()
        yield
        self.note(name, self.seconds(), peak=True)

    def begin(self) -> None:
        self.pace.begin()
        reset_peak()
        self._since = self.pace.clock()

    def seconds(self) -> float:
        """Return the CPU seconds since `begin`."""
        return self.pace.clock() - self._since

    def note(self, name: str, seconds: float, peak: bool = False, rows: int = 0) -> None:
        found = {"us": seconds * 1e6 / (rows or self.rows), "pace_us": self.pace.us}
        if peak and STATUS.exists():
            found["peak_mb"] = peak_mb()
        self.found[name] = found

    def total(self, name: str) -> float:
        """Return the CPU seconds of a term that was noted."""
        return self.found[name]["us"] * self.rows / 1e6


class Stage:
    """An iterable that passes items on; `used` is the CPU seconds of making them."""

    def __init__(self, source: Iterable[Any], pace: Pace) -> None:
        self._source, self._pace, self.used = source, pace, 0.0

    def __iter__(self) -> Iterator[Any]:
        source = iter(self._source)
        while True:
            start = self._pace.clock()
            some = list(islice(source, 1))
            self.used += self._pace.clock() - start
            if not some:
                return
            yield from some


class StagedSource(Source):
    """A source whose items are timed, and the comparison of their ids by itself."""

    def __init__(self, request: RunRequest, pace: Pace) -> None:
        super().__init__(request.paths, request.source.for_prompts(None, None))
        self.compared, self._pace = 0.0, pace

    def item_columns(self) -> Iterator[ItemColumns]:
        def timed(*arguments: Any) -> None:
            start = self._pace.clock()
            check_unique(*arguments)
            self.compared += self._pace.clock() - start

        with mock.patch("librehps.items.source.check_unique", timed):
            self.listed = Stage(super().item_columns(), self._pace)
            yield from self.listed

    def note(self, terms: Terms, total: float) -> None:
        terms.note("listing: making items", self.listed.used - self.compared)
        terms.note("listing: duplicate ids", self.compared)
        terms.note("listing: writing it", total - self.listed.used)


class TimedDecoder(ConstantDecoder):
    """The constant's decoder; `seconds` is its CPU time, from some of its calls."""

    seconds = 0.0

    def __init__(self, real: Any) -> None:
        super().__init__(real)
        # Quicker than counting calls, which would be taken for a part of the run.
        self._is_timed, self._decode = cycle([True, *[False] * (TIMED_EVERY - 1)]), super().decode

    def decode(self, item: Item, content: object) -> Decoded:
        if not next(self._is_timed):
            return self._decode(item, content)
        start = time.thread_time()
        found = self._decode(item, content)
        used = time.thread_time() - start
        # Looking at the clock takes as long as an empty call.
        start = time.thread_time()
        TimedDecoder.seconds += (used - (time.thread_time() - start)) * TIMED_EVERY
        return found


class TimedModel(ConstantModel):
    """The constant's model; `seconds` is its CPU time."""

    seconds = 0.0

    def launch(self, batch: Sequence[Prepared]) -> Callable[[], RawScores]:
        scores = super().launch(batch)

        def timed() -> RawScores:
            start = time.thread_time()
            found = scores()
            TimedModel.seconds += time.thread_time() - start
            return found

        return timed


class TimedScorer(ConstantScorer):
    """A constant scorer whose own CPU time is known, in the run where it is spent."""

    decoder_type, model_type = TimedDecoder, TimedModel


class ConstantRows:
    """A function that scores items without decode and forward, and times what it calls."""

    def __init__(
        self, known: RowScores, axes: tuple[str, ...], has_errors: bool, pace: Pace
    ) -> None:
        self._known, self._axes, self._has_errors, self._pace = known, axes, has_errors, pace
        self.used = {"reading": 0.0, "making": 0.0, "duplicates": 0.0, "constant": 0.0}
        self._numbers = np.random.default_rng(0)

    def __call__(self, items: Iterable[Item]) -> Iterator[ScoredRows]:
        source, done = iter(items), 0
        while True:
            with self._timed("reading"):
                some = list(islice(source, WINDOW))
            if not some:
                return
            with self._timed("constant"):
                raws, decoded = self.raws(len(some)), [decoded_of(item) for item in some]
            with self._timed("making"):
                hashes = [one.sha256 for one in decoded]
                prompts = [item.prompt for item in some]
                keys = content_keys(["image"] * len(some), hashes, prompts)
                outputs = Outputs(len(some), len(self._axes))
                outputs.put(range(len(some)), raws)
                if self._has_errors:
                    failed = range(-done % ERROR_EVERY, len(some), ERROR_EVERY)
                    outputs.put_errors({at: EmptyFileError("the file is empty") for at in failed})
                rows = scored_rows(some, decoded_columns(decoded), outputs, keys, self._axes)
            with self._timed("duplicates"):
                self._known.find(keys)
                found = zip(keys, range(len(rows)), rows.errors, strict=True)
                self._known.add(rows, {key: at for key, at, error in found if error is None})
            with self._timed("constant"):
                # As the engine does once a window has its rows.
                del raws, outputs
            done += len(some)
            yield rows

    def raws(self, count: int) -> RawScores:
        values = self._numbers.random((count, 2 * len(self._axes) + 1), np.float32)
        return RawScores(values.astype(float), has_scalar=True)

    @contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        start = self._pace.clock()
        yield
        self.used[name] += self._pace.clock() - start


def decoded_of(item: Item) -> Decoded:
    """Return an item without pixels, whose content hash is its own."""
    digest = hashlib.sha256(item.id.encode()).hexdigest()
    return Decoded(NOT_PREPARED, "image", 512, 512, None, 40, digest)


def reset_peak() -> None:
    """Let the peak memory of this process begin at what it has now."""
    if PEAK_RESET.exists():
        PEAK_RESET.write_text("5")


def peak_mb() -> float:
    """Return the peak resident memory since `reset_peak`."""
    lines = STATUS.read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024
