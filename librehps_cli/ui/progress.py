"""What a person sees of a run: a line that moves, a summary at its end, and how to stop it."""

import os
import signal
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from librehps.scores.columns import axes_among
from librehps_cli.ui.errors import INTERRUPTED
from librehps_cli.ui.output import Output

if TYPE_CHECKING:
    from librehps import ScoredRow
    from librehps.engine.engine import LocalEngine
    from librehps.runs.ray.engine import RayEngine

    Engine = LocalEngine | RayEngine

# Of the histogram of each axis' means.
BINS = 1000
QUANTILES = (0.05, 0.5, 0.95)


@dataclass
class Tally:
    """Rows as they pass: how many, errors by kind, and each axis' distribution."""

    ok: int = 0
    failed: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    means: dict[str, list[int]] = field(default_factory=dict)

    def add(self, row: "ScoredRow") -> None:
        if row.score is None:
            self.failed += 1
            self.errors[type(row.error).__name__] += 1
            return
        self.ok += 1
        for name, axis in row.score.items():
            bins = self.means.setdefault(name, [0] * BINS)
            bins[min(BINS - 1, int(axis.mean * BINS))] += 1

    def add_table(self, table: Any) -> None:
        """As `add`, of an Arrow table of full rows."""
        status = table["status"].to_pylist()
        self.ok += status.count("ok")
        self.failed += status.count("error")
        self.errors.update(kind for kind in table["error_type"].to_pylist() if kind)
        for axis in axes_among(table.column_names):
            for mean in table[axis].drop_null().to_pylist():
                bins = self.means.setdefault(axis, [0] * BINS)
                bins[min(BINS - 1, int(mean * BINS))] += 1

    def print_summary(self, out: Output) -> None:
        """A line always; tables where a person reads stderr."""
        if out.is_watched and self.means:
            rows = [[axis, *map(_figure, _distribution(bins))] for axis, bins in self.means.items()]
            out.talk_table(["axis", "mean", "5 %", "median", "95 %"], rows)
        if out.is_watched and self.errors:
            kinds = [[kind, str(count)] for kind, count in self.errors.most_common()]
            out.talk_table(["error", "rows"], kinds)
        out.note(f"{self.ok} scored, {self.failed} errors")


def shown(
    rows: "Iterable[ScoredRow]",
    total: int | None,
    tally: Tally,
    engine: "LocalEngine",
    out: Output,
) -> "Iterator[ScoredRow]":
    """The rows, tallied; with a live line on stderr where that is a terminal."""
    with _line(total, tally, engine, out) as move:
        for row in rows:
            tally.add(row)
            move(f"  device {engine.work.busy:.0%}")
            yield row


def shown_tables(
    tables: "Iterable[Any]", total: int, tally: Tally, engine: "Engine", out: Output
) -> "Iterator[Any]":
    """As `shown`, of Arrow tables of full rows."""
    with _line(total, tally, engine, out) as move:
        for table in tables:
            tally.add_table(table)
            move("")
            yield table


@contextmanager
def _line(
    total: int | None, tally: Tally, engine: "Engine", out: Output
) -> Iterator[Callable[[str], None]]:
    """Moves the live line to where the tally is; what it is called with is said at its end."""
    if not out.is_watched:
        yield lambda _: None
        return
    with _progress(out) as bar:
        task = bar.add_task("", total=total, completed=tally.ok + tally.failed, rate="", errors="")

        def move(more: str) -> None:
            work = engine.work
            bar.update(
                task,
                completed=tally.ok + tally.failed,
                rate=f"{work.rows / max(work.seconds, 1e-9):.1f}/s",
                errors=f"{tally.failed} errors{more}",
            )

        yield move


def _progress(out: Output) -> Any:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    return Progress(
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[errors]}"),
        console=out.talk_console,
        transient=True,
    )


@contextmanager
def interruptible(engine: "Engine", out: Output) -> Iterator[None]:
    """Ctrl-C, or SIGTERM, ends the run after the batch on the device; a second one at once."""
    before: dict[int, Any] = {}

    def stop(number: int, frame: object) -> None:
        engine.stop.set()
        for kind in before:
            signal.signal(kind, leave)
        out.note("finishing the batch; once more to stop at once")

    def leave(number: int, frame: object) -> None:
        # Batches in other threads cannot be broken off; what is journalled stays all the same.
        out.talk_console.show_cursor(True)
        os._exit(INTERRUPTED)

    for number in (signal.SIGINT, signal.SIGTERM):
        before[number] = signal.signal(number, stop)
    try:
        yield
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)


def _distribution(bins: list[int]) -> list[float]:
    """Mean and quantiles, to half the width of a bin."""
    count = sum(bins)
    mean = sum((at + 0.5) / BINS * n for at, n in enumerate(bins)) / count
    quantiles = []
    for share in QUANTILES:
        below = 0
        for at, number in enumerate(bins):
            below += number
            if below >= share * count:
                quantiles.append((at + 0.5) / BINS)
                break
    return [mean, *quantiles]


def _figure(value: float) -> str:
    return f"{value:.3f}"
