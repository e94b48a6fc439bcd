"""A run on this machine that writes parts, as into a bucket, where no file can grow."""

from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import cast

from librehps.engine.engine import LocalEngine, Work
from librehps.runs.awaited_rows import AwaitedRows
from librehps.runs.local import LocalRun
from librehps.runs.part_writer import PartWriter, Unit, UnitResult
from librehps.runs.parts_job import PartsJob
from librehps.runs.progress import RunProgress
from librehps.scores.scored_rows import ScoredRows
from librehps.settings import Settings
from librehps.types import Item

# Parts that are written at one time while later ones are scored.
MAX_WRITES = 4

Seen = Callable[[ScoredRows], None]


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
            partial(score_parts, engine, partial(self.observer.scored_window, progress=progress))
        )
        with self.observer.watching(progress), closing(parts) as results:
            for result in results:
                written.merge(result.progress)
        return written


def score_parts(
    engine: LocalEngine, seen: Seen, units: Sequence[Unit], writer: PartWriter
) -> Generator[UnitResult, None, None]:
    """Score the units and write their parts; yield a result for each part once it is written."""
    pool = ThreadPoolExecutor(MAX_WRITES, "librehps-part")
    begun: deque[tuple[Unit, AwaitedRows]] = deque()
    writes: deque[Future[UnitResult]] = deque()

    def items() -> Iterator[Item]:
        for unit in units:
            found = writer.items(unit)
            if found:
                begun.append((unit, AwaitedRows(len(found))))
            else:
                # Another process has scored them since.
                writes.append(pool.submit(UnitResult, unit))
            yield from found

    try:
        with closing(engine.windows(items())) as windows:
            for window in windows:
                # The engine yields no rows before it waits.
                if window:
                    seen(window)
                taken = 0
                while taken < len(window):
                    unit, awaited = begun[0]
                    taken = awaited.take(window, taken)
                    if awaited.are_whole:
                        begun.popleft()
                        writes.append(pool.submit(write_part, writer, unit, awaited.rows()))
                while writes and (writes[0].done() or len(writes) > MAX_WRITES):
                    yield writes.popleft().result()
        while writes:
            yield writes.popleft().result()
    finally:
        # After an error, parts that nobody waits for.
        pool.shutdown(wait=False, cancel_futures=True)


def write_part(writer: PartWriter, unit: Unit, rows: ScoredRows) -> UnitResult:
    """Write the part of a unit from its rows; return their counts."""
    result = UnitResult(unit, RunProgress(None, Work(len(rows))))
    result.progress.add_all(rows)
    writer.write(unit, [writer.table(rows)], result.progress.failed)
    return result
