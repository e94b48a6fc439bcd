"""The tasks of `benchmarks/scale.py`, each in a process of its own, as commands are.

Tasks share a folder with a manifest: `run` leaves a journal there, `resume` makes the output of it,
and `retry` scores the failed rows of that output again. `whole` calls `score_to`.
"""

import os
import tempfile
from collections.abc import Callable
from contextlib import ExitStack, closing
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from constant_model import write_manifest
from librehps import score_to
from librehps.engine.outcome import decoded_columns, scored_rows
from librehps.engine.outputs import Outputs
from librehps.runs.imports import loaded_frozen
from librehps.runs.job import Job
from librehps.runs.part_writer import PartWriter, Unit
from librehps.runs.request import RunRequest
from librehps.runs.row_scores import RowScores
from librehps.scores.columns import chosen_columns
from librehps.scores.parts import MAX_PART_ROWS, Parts
from librehps.settings import Settings
from scale_terms import (
    ERROR_EVERY,
    ConstantRows,
    Measured,
    StagedSource,
    Terms,
    TimedDecoder,
    TimedModel,
    TimedScorer,
    decoded_of,
)

# Rows of a first run in each process, so that libraries are imported, pools of threads are filled
# and the heap has grown before anything is measured.
WARM_ROWS = 16_384
# Parts that are measured while actors would write them, spread over the listing.
MAX_TIMED_PARTS = 32
# Parts that the driver checks at least: fewer are checked several times.
MIN_CHECKED_PARTS = 256
COLUMNS = "default"
WHOLE = "`score_to`: all, with the engine and the constant"
NOT_CONSTANT = "`score_to`: without the constant"
MANIFEST = "rows.csv"


@cache
def scorer() -> Any:
    """Return the scorer of `whole`, whose settings all tasks have."""
    return TimedScorer(random_scores=True)


class Place(NamedTuple):
    """The folder of a run, the suffix of its output, and the model's settings."""

    folder: Path
    suffix: str
    settings: Settings

    @property
    def output(self) -> Path:
        return self.folder / f"x.{self.suffix}"

    @property
    def request(self) -> RunRequest:
        return RunRequest((str(self.folder / MANIFEST),))


Disk = dict[str, float]


def run(terms: Terms, place: Place) -> Disk:
    """Measure listing and rows up to a whole journal, and parts as a Ray cluster writes them."""
    job = Job(place.output, resume=False)
    with job:
        source = StagedSource(place.request, terms.pace)
        with terms.term("listing"):
            job.begin(place.settings, place.request.facts(), source, COLUMNS)
        source.note(terms, terms.total("listing"))
        _score(terms, job, place.settings)
        disk = _sizes(job.journal.folder, job.facts["total"])
        _parts(terms, job, place)
    return disk


def resume(terms: Terms, place: Place) -> Disk:
    """Measure how a journal with all rows is read, and how the output is written."""
    with ExitStack() as stack:
        with terms.term("resume of all rows: reading the journal"):
            job = stack.enter_context(Job(place.output, resume=True))
            job.begin(place.settings, place.request.facts(), None, COLUMNS)
            RowScores(job.journal.rows).find([])
        disk = _sizes(job.journal.folder, terms.rows)
        with terms.term("finish: writing the output"):
            job.finish(place.settings, COLUMNS)
    output = place.output.stat().st_size / terms.rows
    return {"output": output, "journal / output": (disk["listing"] + disk["rows"]) / output}


def retry(terms: Terms, place: Place) -> Disk:
    """Measure a retry of one row in a thousand, and what follows when nothing is left to do."""
    request, settings = place.request, place.settings
    with terms.term(f"retry of one row in {ERROR_EVERY:,}"):
        job = Job(place.output, resume=True, retry_errors=True)
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
            job = Job(place.output, resume=True, **way)
            assert job.is_complete
            job.check_origin(settings, request.facts())
            assert job.finished_counts().failed == 0
    return {}


def whole(terms: Terms, place: Place) -> Disk:
    """Measure `score_to` as it is called, with the engine and its threads."""
    TimedDecoder.seconds = TimedModel.seconds = 0.0
    output = place.folder / f"whole.{place.suffix}"
    with terms.term(WHOLE):
        summary = score_to(place.folder / MANIFEST, output, model=scorer())
    assert summary.ok == terms.rows
    constant = TimedDecoder.seconds + TimedModel.seconds
    terms.note(NOT_CONSTANT, terms.total(WHOLE) - constant)
    return {}


# In this order: each uses what the tasks before it left in the folder.
TASKS: dict[str, Callable[[Terms, Place], Disk]] = {
    "run": run,
    "resume": resume,
    "retry": retry,
    "whole": whole,
}


def measure(task: str, folder: Path, rows: int, suffix: str) -> dict[str, Measured]:
    """Return the terms of a task, with those of `rows` rows, and bytes a row on disk."""
    settings = scorer().settings
    with tempfile.TemporaryDirectory() as warm:
        count = min(rows, WARM_ROWS)
        write_manifest(Path(warm, MANIFEST), count)
        before = ("run", "resume", "retry") if task in ("resume", "retry") else (task,)
        for name in before:
            TASKS[name](Terms(count), Place(Path(warm), suffix, settings))
            if name == task:
                break
    terms = Terms(rows)
    with terms.pace.sampled(), loaded_frozen():
        disk = TASKS[task](terms, Place(folder, suffix, settings))
    return {"terms": terms.found, "disk": disk}


def _score(terms: Terms, job: Job, settings: Settings) -> None:
    scored = ConstantRows(RowScores(job.journal.rows), settings.axes, True, terms.pace)
    terms.begin()
    with closing(job.run(scored)) as windows:
        for _ in windows:
            pass
    used, total = scored.used, terms.seconds()
    terms.note("rows", total - used["constant"], peak=True)
    terms.note("rows: reading the listing", used["reading"])
    terms.note("rows: made of raw scores", used["making"])
    terms.note("rows: duplicates' index", used["duplicates"])
    terms.note("rows: into the journal", total - sum(used.values()))


def _parts(terms: Terms, job: Job, place: Place) -> None:
    """Measure what an actor of a Ray cluster does besides, and the driver's end of the run."""
    total, settings = job.facts["total"], place.settings
    parts = Parts(place.folder / "parts", total, "scale", min(MAX_PART_ROWS, total))
    kinds = chosen_columns(COLUMNS, job.facts["own_columns"], settings.axes)
    writer = PartWriter(parts, job.journal.listing, kinds, settings, place.request.facts())
    scored = ConstantRows(RowScores(job.journal.rows), settings.axes, False, terms.pace)
    parts.begin()
    units = [Unit(first, *parts.bounds(first)) for first in range(0, total, parts.rows)]
    timed = units[:: -(-len(units) // MAX_TIMED_PARTS)]
    used = 0.0
    terms.begin()
    for unit in timed:
        items = writer.items(unit)
        decoded, raws = [decoded_of(item) for item in items], scored.raws(len(items))
        outputs = Outputs.of(raws, len(settings.axes))
        columns = decoded_columns(decoded)
        rows = scored_rows(items, columns, outputs, [None] * len(items), settings.axes)
        start = terms.pace.clock()
        table = writer.table(rows)
        writer.write(unit, [table], 0)
        used += terms.pace.clock() - start
    measured = sum(unit.rows for unit in timed)
    terms.note("Ray, actor: writing a part of 16,384 rows", used, rows=measured)
    # The check reads what is written of a part as a whole, so all others can be of the same rows.
    for unit in units:
        if unit not in timed:
            parts.write(unit.part, table.slice(0, unit.rows), 0)
    times = max(1, MIN_CHECKED_PARTS // len(units))
    terms.begin()
    for _ in range(times):
        parts.finish()
    terms.note("Ray, driver: last check, µs a part", terms.seconds(), rows=times * len(units))


def _sizes(journal: Path, total: int) -> Disk:
    names = {"listing": "listing/*", "rows": "rows.*"}
    return {
        name: sum(os.path.getsize(file) for file in journal.glob(pattern)) / total
        for name, pattern in names.items()
    }
