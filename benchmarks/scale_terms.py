"""The terms of a run's cost that `benchmarks/scale.py` measures in one process."""

import hashlib
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import cycle, islice
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from constant_model import ConstantDecoder, ConstantModel, ConstantScorer, write_manifest
from librehps import Item, LibreHPS, score_to
from librehps.engine.content_key import content_keys
from librehps.engine.decode import NOT_PREPARED, Decoded
from librehps.engine.outcome import scored_rows
from librehps.engine.outputs import Outputs
from librehps.errors import EmptyFileError
from librehps.items.ids import check_unique
from librehps.items.item_columns import ItemColumns
from librehps.items.source import Source
from librehps.models.base import Prepared
from librehps.models.raw_scores import RawScores
from librehps.runs.imports import loaded_frozen
from librehps.runs.job import Job
from librehps.runs.observer import RunObserver
from librehps.runs.part_writer import PartWriter, Unit
from librehps.runs.progress import RunProgress
from librehps.runs.request import RunRequest
from librehps.runs.row_scores import RowScores
from librehps.scores.columns import chosen_columns
from librehps.scores.parts import MAX_PART_ROWS, Parts
from librehps.scores.scored_rows import ScoredRows
from librehps.settings import Settings
from pace import Pace

WINDOW = 256
MAX_PARTS = 4
PACE_WINDOWS = 16
# Every such row is an error in the first run, and is retried.
ERROR_EVERY = 1000
COLUMNS = "default"
WHOLE = "`score_to`: all, with the engine and the constant"
NOT_CONSTANT = "`score_to`: without the constant"
TIMED_EVERY = 32
STATUS, PEAK_RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
Measured = dict[str, dict[str, float]]


class Terms:
    """CPU time and peak memory by term, for `rows` rows, and the pace of the machine meanwhile."""

    def __init__(self, rows: int) -> None:
        self._rows, self.found = rows, dict[str, dict[str, float]]()
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
        self._since = time.process_time()

    def seconds(self) -> float:
        """Return the CPU seconds since `begin`, without those of the pace."""
        found = time.process_time() - self._since - self.pace.spent
        self.pace.sample()
        return found

    def note(self, name: str, seconds: float, peak: bool = False, rows: int = 0) -> None:
        found = {"us": seconds * 1e6 / (rows or self._rows), "pace_us": self.pace.us}
        if peak and STATUS.exists():
            found["peak_mb"] = peak_mb()
        self.found[name] = found

    def total(self, name: str) -> float:
        """Return the CPU seconds of a term that was noted."""
        return self.found[name]["us"] * self._rows / 1e6


class Stage:
    """An iterable that passes items on; `used` is the CPU seconds of making them."""

    def __init__(self, source: Iterable[Any]) -> None:
        self._source, self.used = source, 0.0

    def __iter__(self) -> Iterator[Any]:
        source = iter(self._source)
        while True:
            start = time.process_time()
            some = list(islice(source, 1))
            self.used += time.process_time() - start
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
            start = time.process_time()
            check_unique(*arguments)
            self.compared += time.process_time() - start

        with mock.patch("librehps.items.source.check_unique", timed):
            self.listed = Stage(super().item_columns())
            for found in self.listed:
                self._pace.sample()
                yield found

    def note(self, terms: Terms, total: float) -> None:
        terms.note("listing: making items", self.listed.used - self.compared)
        terms.note("listing: duplicate ids", self.compared)
        terms.note("listing: writing it", total - self.listed.used)


class PaceObserver(RunObserver):
    """An observer of a run that measures the pace of the machine."""

    def __init__(self, pace: Pace) -> None:
        self._pace, self._windows = pace, 0

    def scored_window(self, rows: ScoredRows, progress: RunProgress) -> None:
        super().scored_window(rows, progress)
        self._windows += 1
        if self._windows % PACE_WINDOWS == 0:
            self._pace.sample()


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
                rows = scored_rows(some, decoded, outputs, keys, self._axes)
            with self._timed("duplicates"):
                self._known.find(keys)
                found = zip(keys, range(len(rows)), rows.errors, strict=True)
                self._known.add(rows, {key: at for key, at, error in found if error is None})
            with self._timed("constant"):
                # As the engine does once a window has its rows.
                del raws, outputs
            if done % (PACE_WINDOWS * WINDOW) == 0:
                self._pace.sample()
            done += len(some)
            yield rows

    def raws(self, count: int) -> RawScores:
        values = self._numbers.random((count, 2 * len(self._axes) + 1), np.float32)
        return RawScores(values.astype(float), has_scalar=True)

    @contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        start = time.process_time()
        yield
        self.used[name] += time.process_time() - start


def measure(folder: Path, rows: int, random_ids: bool, suffix: str) -> dict[str, Measured]:
    """Return the terms of a run of `rows` rows, and its bytes a row on disk."""
    terms, output = Terms(rows), folder / f"x.{suffix}"
    settings = LibreHPS.from_pretrained("tiny", device="cpu").settings
    manifest = folder / "rows.csv"
    # Libraries are imported, and pools of threads are filled, by a small run.
    write_manifest(manifest, 2 * WINDOW)
    _run(Terms(1), folder / f"warm.{suffix}", settings, RunRequest((str(manifest),)))
    write_manifest(manifest, rows, random_ids)
    with loaded_frozen():
        disk = _run(terms, output, settings, RunRequest((str(manifest),)))
    return {"terms": terms.found, "disk": disk}


def _run(terms: Terms, output: Path, settings: Settings, request: RunRequest) -> dict[str, float]:
    job = Job(output, resume=False)
    with job:
        _list(terms, job, settings, request)
        _score(terms, job, settings, "rows", has_errors=True)
        total = job.facts["total"]
        disk = _sizes(job.journal.folder, total)
        _parts(terms, job, settings, request, output.with_name("parts"))
    job = Job(output, resume=True)
    with job:
        with terms.term("resume of all rows: reading the journal"):
            job.begin(settings, request.facts(), None, COLUMNS)
            RowScores(job.journal.rows).find([])
        with terms.term("finish: writing the output"):
            job.finish(settings, COLUMNS)
    disk["output"] = output.stat().st_size / total
    disk["journal / output"] = (disk["listing"] + disk["rows"]) / disk["output"]
    _again(terms, output, settings, request)
    return disk


def _list(terms: Terms, job: Job, settings: Settings, request: RunRequest) -> None:
    source = StagedSource(request, terms.pace)
    with terms.term("listing"):
        job.begin(settings, request.facts(), source, COLUMNS)
    source.note(terms, terms.total("listing"))


def _score(terms: Terms, job: Job, settings: Settings, name: str, has_errors: bool = False) -> None:
    scored = ConstantRows(RowScores(job.journal.rows), settings.axes, has_errors, terms.pace)
    terms.begin()
    with closing(job.run(scored)) as windows:
        for _ in windows:
            pass
    used, total = scored.used, terms.seconds()
    terms.note(name, total - used["constant"], peak=True)
    terms.note(f"{name}: reading the listing", used["reading"])
    terms.note(f"{name}: made of raw scores", used["making"])
    terms.note(f"{name}: duplicates' index", used["duplicates"])
    terms.note(f"{name}: into the journal", total - sum(used.values()))


def _parts(terms: Terms, job: Job, settings: Settings, request: RunRequest, folder: Path) -> None:
    """Measure what an actor of a Ray cluster does besides, and the driver's end of the run."""
    total = min(job.facts["total"], MAX_PARTS * MAX_PART_ROWS)
    parts = Parts(folder, total, "scale")
    parts.rows = min(MAX_PART_ROWS, total)
    kinds = chosen_columns(COLUMNS, job.facts["own_columns"], settings.axes)
    writer = PartWriter(parts, job.journal.listing, kinds, settings, request.facts())
    scored = ConstantRows(RowScores(job.journal.rows), settings.axes, False, terms.pace)
    parts.begin()
    terms.begin()
    used, firsts = 0.0, range(0, total, parts.rows)
    for first in firsts:
        unit = Unit(first, *parts.bounds(first))
        items = writer.items(unit)
        raws = scored.raws(len(items))
        decoded = [decoded_of(item) for item in items]
        outputs = Outputs.of(raws, len(settings.axes))
        rows = scored_rows(items, decoded, outputs, [None] * len(items), settings.axes)
        start = time.process_time()
        writer.write(unit, [writer.table(rows)], 0)
        used += time.process_time() - start
        terms.pace.sample()
    terms.note("Ray, actor: writing a part of 16,384 rows", used, rows=total)
    start = time.process_time()
    parts.finish()
    used = time.process_time() - start
    terms.note("Ray, driver: last check, µs a part", used, rows=len(firsts))


def _again(terms: Terms, output: Path, settings: Settings, request: RunRequest) -> None:
    """Measure a retry of one row in a thousand, and what follows when nothing is left to do."""
    with terms.term(f"retry of one row in {ERROR_EVERY:,}"):
        job = Job(output, resume=True, retry_errors=True)
        with job:
            job.begin(settings, request.facts(), request.open_source(), COLUMNS)
            known = RowScores(job.journal.rows)
            scored = ConstantRows(known, settings.axes, False, terms.pace)
            with closing(job.run(scored)) as windows:
                count = sum(map(len, windows))
            assert count == -(-job.facts["total"] // ERROR_EVERY)
            job.finish(settings, COLUMNS)
    for name, way in (("retry", {"retry_errors": True}), ("resume", {})):
        with terms.term(f"{name} of a complete output"):
            job = Job(output, resume=True, **way)
            assert job.is_complete
            job.check_origin(settings, request.facts())
            assert job.finished_counts().failed == 0


def measure_whole(folder: Path, rows: int, random_ids: bool, suffix: str) -> dict[str, Measured]:
    """Return the cost of `score_to` as it is called, with the engine and its threads."""
    terms, manifest = Terms(rows), folder / "rows.csv"
    scorer: Any = TimedScorer(random_scores=True)
    write_manifest(manifest, 2 * WINDOW)
    score_to(manifest, folder / f"warm.{suffix}", model=scorer)
    write_manifest(manifest, rows, random_ids)
    TimedDecoder.seconds = TimedModel.seconds = 0.0
    with terms.term(WHOLE):
        observer = PaceObserver(terms.pace)
        summary = score_to(manifest, folder / f"x.{suffix}", model=scorer, observer=observer)
    assert summary.ok == rows
    constant = TimedDecoder.seconds + TimedModel.seconds
    terms.note(NOT_CONSTANT, terms.total(WHOLE) - constant)
    return {"terms": terms.found}


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


def _sizes(journal: Path, total: int) -> dict[str, float]:
    names = {"listing": "listing/*", "rows": "rows.*"}
    return {
        name: sum(os.path.getsize(file) for file in journal.glob(pattern)) / total
        for name, pattern in names.items()
    }
