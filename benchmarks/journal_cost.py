"""CPU and space of a run's journal: rows that cost nothing go into it, and out of it.

    python benchmarks/journal_cost.py [--rows 100000] [--suffix .parquet] [--same] [--errors 0]

No item is decoded and no model runs: each row has pseudo-random scores, or the same ones with
--same. Prints microseconds of CPU per row by step, and bytes per row of journal and output. Each
row has its own content; the duplicates index is asked and filled as the engine does.
"""

import argparse
import hashlib
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from librehps import Item, LibreHPS, ScoredRow
from librehps.engine.outcome import to_score
from librehps.engine.score_cache import content_key
from librehps.errors import EmptyFileError
from librehps.models.base import RawScore
from librehps.runs.job import Job
from librehps.runs.row_scores import RowScores
from librehps.settings import Settings

WINDOW = 256
OWN = {"seed": "long", "model": "text"}
REQUEST = {"paths": ["x.csv"], "folder": "/"}


class Rows:
    """A source of `total` items, and the rows of a model that takes no time."""

    def __init__(self, total: int, same: bool, errors: int) -> None:
        self.total, self._same, self._errors = total, same, errors
        self.used = 0.0

    def items(self) -> Iterator[Item]:
        for at in range(self.total):
            name, prompt = f"sub{at // 1000:05}/{at:08}.png", f"a red circle on table {at % 977}"
            extra = {"seed": at, "model": f"m{at % 5}"}
            yield Item(f"{at:08}", f"/data/{name}", prompt, "image", extra=extra)

    def facts(self) -> dict[str, Any]:
        empty = {"containers": [], "dropped": [], "skipped": 0}
        return {"own_columns": OWN, "has_prompts": True, **empty}

    def scored(
        self, items: Iterable[Item], known: RowScores, axes: tuple[str, ...]
    ) -> Iterator[list[ScoredRow]]:
        """Yield windows of rows; `used` is the CPU seconds of what a journal has no part in."""
        start, rows, keys = time.process_time(), [], {}
        numbers = np.random.default_rng(0)
        for at, item in enumerate(items):
            digest = hashlib.sha256(item.id.encode()).hexdigest()
            values = [0.5] * 11 if self._same else numbers.random(11, np.float32).tolist()
            raw = RawScore(tuple(values[:5]), tuple(values[5:10]), values[10])
            keys[content_key("image", digest, item.prompt)] = raw
            if at < self._errors:
                rows.append(ScoredRow(item, "image", None, error=EmptyFileError("empty")))
            else:
                score = to_score(raw, axes, None)
                rows.append(ScoredRow(item, "image", score, 512, 512, 40, digest))
            if len(rows) == WINDOW:
                self.used += time.process_time() - start
                known.find(list(keys))
                known.add(keys.items())
                yield rows
                start, rows, keys = time.process_time(), [], {}
        self.used += time.process_time() - start
        if rows:
            yield rows


def size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def run(output: Path, settings: Settings, source: Rows, **way: bool) -> None:
    """Run a job and print the CPU microseconds per row of each step."""
    each = 1e6 / source.total
    start = time.process_time()
    job = Job(output, **{"resume": False, **way})
    if job.is_complete:
        job.check_origin(settings, REQUEST)
        counts = job.finished_counts()
        used = (time.process_time() - start) * each
        print(f"{way}: {used:.2f} us a row; complete, {counts.ok} ok, {counts.failed} failed")
        return
    with job:
        job.begin(settings, REQUEST, source, "default")
        listed, source.used = time.process_time(), 0.0
        known = RowScores(job.journal.rows)
        with closing(job.run(lambda items: source.scored(items, known, settings.axes))) as windows:
            for _ in windows:
                pass
        scored = time.process_time()
        journal, rows = (
            size(job.journal.folder),
            sum(file.stat().st_size for file in job.journal.folder.glob("rows.*")),
        )
        middle = time.process_time()
        job.finish(settings, "default")
        finished = time.process_time()
    print(
        f"{way}: us a row: listing {(listed - start) * each:.2f},"
        f" journal {(scored - listed - source.used) * each:.2f},"
        f" finish {(finished - middle) * each:.2f}; bytes a row:"
        f" journal {journal / source.total:.0f} (rows {rows / source.total:.0f}),"
        f" output {output.stat().st_size / source.total:.0f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--suffix", default=".parquet")
    parser.add_argument("--same", action="store_true")
    parser.add_argument("--errors", type=int, default=0)
    given = parser.parse_args()
    settings = LibreHPS.from_pretrained("tiny", device="cpu").settings
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        run(Path(folder, f"warm{given.suffix}"), settings, Rows(2 * WINDOW, False, 0))
        output = Path(folder, f"x{given.suffix}")
        run(output, settings, Rows(given.rows, given.same, given.errors))
        run(output, settings, Rows(given.rows, given.same, 0), resume=True)
        run(output, settings, Rows(given.rows, given.same, 0), retry_errors=True)


if __name__ == "__main__":
    main()
