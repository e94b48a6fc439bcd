"""A run on this machine that writes parts, as into a bucket, where no file can grow."""

from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import cast

from librehps.engine.engine import LocalEngine, Work
from librehps.runs.local import LocalRun
from librehps.runs.part_writer import PartWriter, Unit, UnitResult
from librehps.runs.parts_job import PartsJob
from librehps.runs.progress import RunProgress
from librehps.settings import Settings
from librehps.types import Item, ScoredRow

# Parts that are written at one time while later ones are scored.
MAX_WRITES = 4

Seen = Callable[[ScoredRow], None]


@dataclass
class LocalPartsRun(LocalRun):
    """A run that scores in this process; each part is written once its rows are scored."""

    def _score(self, settings: Settings) -> RunProgress:
        job = cast(PartsJob, self.job)
        kept, total = job.kept, job.facts["total"]
        # Counts the rows of written parts: others are scored again after an interruption.
        written = RunProgress.after(kept, total, Work())
        if not job.remaining:
            return written
        engine = self._engine()
        progress = RunProgress.after(kept, total, engine.work)
        parts = job.run_parts(
            partial(score_parts, engine, partial(self._scored, progress=progress))
        )
        with self.observer.watching(progress), closing(parts) as results:
            for result in results:
                written.merge(result.progress)
        return written


@dataclass
class _Open:
    """A unit whose items are being scored, and its rows so far."""

    unit: Unit
    count: int
    rows: list[ScoredRow] = field(default_factory=list)


def score_parts(
    engine: LocalEngine, seen: Seen, units: Sequence[Unit], writer: PartWriter
) -> Generator[UnitResult, None, None]:
    """Score the units and write their parts; yield a result for each part once it is written."""
    pool = ThreadPoolExecutor(MAX_WRITES, "librehps-part")
    begun: deque[_Open] = deque()
    writes: deque[Future[UnitResult]] = deque()

    def items() -> Iterator[Item]:
        for unit in units:
            found = writer.items(unit)
            if found:
                begun.append(_Open(unit, len(found)))
            else:
                # Another process has scored them since.
                writes.append(pool.submit(UnitResult, unit))
            yield from found

    try:
        with closing(engine.windows(items())) as windows:
            for row in chain.from_iterable(windows):
                seen(row)
                begun[0].rows.append(row)
                if len(begun[0].rows) == begun[0].count:
                    part = begun.popleft()
                    writes.append(pool.submit(write_part, writer, part.unit, part.rows))
                while writes and (writes[0].done() or len(writes) > MAX_WRITES):
                    yield writes.popleft().result()
        while writes:
            yield writes.popleft().result()
    finally:
        # After an error, parts that nobody waits for.
        pool.shutdown(wait=False, cancel_futures=True)


def write_part(writer: PartWriter, unit: Unit, rows: Sequence[ScoredRow]) -> UnitResult:
    """Write the part of a unit from its rows; return their counts."""
    result = UnitResult(unit, RunProgress(None, Work(len(rows))))
    for row in rows:
        result.progress.add(row)
    writer.write(unit, [writer.table(rows)], result.progress.failed)
    return result
