"""Progress of a run on stderr, the counts at its end, and the signals that stop it."""

import json
import os
import signal
import threading
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any

import typer

from librehps.files import counted
from librehps.runs.observer import RunObserver
from librehps_cli.ui.errors import INTERRUPTED
from librehps_cli.ui.output import Output, figure
from librehps_cli.ui.progress_log import ProgressLog, progress_line

if TYPE_CHECKING:
    from librehps.runs.changes import Changes
    from librehps.runs.progress import Distribution, RunProgress
    from librehps.runs.summary import RunSummary
    from librehps.scores.scored_rows import ScoredRows
    from librehps.types import Score, ScoredRow

# Rows in the table after a pass of a watch.
MAX_NEWEST = 20


class CommandObserver(RunObserver):
    """An observer that shows a run on stderr; Ctrl-C or SIGTERM sets `stop` during the run.

    With `prints_summaries` the summary of each pass of a watch is a line of JSON on stdout.
    """

    def __init__(self, out: Output, prints_summaries: bool = False) -> None:
        self.stop, self.prints_summaries = threading.Event(), prints_summaries
        self._out = out
        self._bar: Any = None
        self._log: ProgressLog | None = None
        self._newest: deque[tuple[str, Score]] = deque(maxlen=MAX_NEWEST)
        # Rows of vanished items after the last pass.
        self._vanished = 0

    def note(self, message: str) -> None:
        """Print the message on stderr."""
        self._out.note(message)

    def confirm_download(self, message: str) -> bool:
        """Return whether a person at a terminal agrees; False where nobody can be asked."""
        return self._out.can_ask() and typer.confirm(f"{message}. Download?", err=True)

    @contextmanager
    def watching(self, progress: "RunProgress") -> Iterator[None]:
        """Handle signals; show a live line on a terminal, print plain lines into a log."""
        with stopping(self.stop, self._out), self._shown(progress):
            yield

    @contextmanager
    def _shown(self, progress: "RunProgress") -> Iterator[None]:
        if self._out.quiet:
            yield
        elif self._out.is_watched:
            with _progress_bar(self._out) as self._bar:
                self._task = self._bar.add_task(
                    "", total=progress.total, completed=progress.done, rate="", errors=""
                )
                yield
            self._bar = None
        else:
            self._log = ProgressLog(lambda: _line(progress), self._out.note)
            with self._log.ticking():
                yield
            self._log = None

    def updated(self, summary: "RunSummary") -> None:
        """Print what a pass of a watch has changed; with --json the whole summary."""
        if summary.changes is not None and self._has_changes(summary.changes):
            text = summary.changes.text()
            if summary.remaining:
                text += f", {summary.remaining} left to score"
            if summary.failed:
                text += f"; {counted(summary.failed, 'error')} in all"
            self._out.note(f"{datetime.now():%H:%M:%S} {text}")
        if self._out.is_watched and self._newest:
            self._show_newest()
        if self.prints_summaries:
            self._out.line(json.dumps(summary.to_dict(), ensure_ascii=False))

    def _has_changes(self, changes: "Changes") -> bool:
        """Return True if rows have changed, or other rows than before are of vanished items."""
        before, self._vanished = self._vanished, changes.vanished
        return changes.has_any or changes.vanished not in (before, 0)

    def _show_newest(self) -> None:
        """Print the newest scored rows as a table."""
        records = [{axis: one.mean for axis, one in score.items()} for _, score in self._newest]
        axes = list({axis: None for record in records for axis in record})
        rows = [
            [name, *(figure(record.get(axis)) for axis in axes)]
            for (name, _), record in zip(self._newest, records, strict=True)
        ]
        self._out.talk_table(["item", *axes], rows)
        self._newest.clear()

    def scored(self, row: "ScoredRow") -> None:
        """Keep the newest scored rows, for the table after a pass."""
        if row.score is not None:
            self._newest.append((row.item.id, row.score))

    def scored_window(self, rows: "ScoredRows", progress: "RunProgress") -> None:
        """Count the rows, keep the newest, and move the live line once."""
        progress.add_all(rows)
        for row in rows[-MAX_NEWEST:]:
            self.scored(row)
        self.advanced(progress)

    def advanced(self, progress: "RunProgress") -> None:
        """Move the live line, or print a plain one when it is due."""
        if self._log is not None:
            self._log.tick()
        if self._bar is None:
            return
        # A cluster does not say how busy its devices are.
        busy = f"  device {progress.work.busy:.0%}" if progress.work.forward else ""
        self._bar.update(
            self._task,
            completed=progress.done,
            rate=f"{progress.rows_per_s:.1f}/s",
            errors=counted(progress.failed, "error") + busy,
        )


def _line(progress: "RunProgress") -> str:
    rate, errors = progress.rows_per_s, progress.failed
    return progress_line("scoring", progress.done, progress.total, rate, errors)


def print_counts(
    ok: int,
    failed: int,
    errors: Mapping[str, int],
    distributions: "Mapping[str, Distribution]",
    out: Output,
    kept: int = 0,
) -> None:
    """Print one line of counts; on a terminal also a table of axes and one of errors.

    The axes are those of the rows of this call, without the `kept` rows of earlier calls.
    """
    if out.is_watched and distributions:
        if kept:
            out.note(f"scores of this call, without the {counted(kept, 'row')} of earlier calls:")
        rows = [[axis, *(f"{v:.3f}" for v in found)] for axis, found in distributions.items()]
        out.talk_table(["axis", "mean", "5 %", "median", "95 %"], rows)
    if out.is_watched and errors:
        kinds = [[kind, str(count)] for kind, count in Counter(errors).most_common()]
        out.talk_table(["error", "rows"], kinds)
    out.note(f"{ok} scored, {counted(failed, 'error')}{' in all calls' if kept else ''}")


def _progress_bar(out: Output) -> Any:
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
def stopping(event: threading.Event, out: Output, unit: str = "batch") -> Iterator[None]:
    """Set the event at the first Ctrl-C or SIGTERM, which ends a unit; exit at the second."""
    before: dict[int, Any] = {}

    def stop(number: int, frame: object) -> None:
        event.set()
        for kind in before:
            signal.signal(kind, leave)
        # Python refuses a write from a signal that interrupts a write to the same stream.
        with suppress(RuntimeError):
            out.note(f"stopping after this {unit}; press Ctrl-C again to stop now")

    def leave(number: int, frame: object) -> None:
        # A batch in another thread cannot be cancelled; rows in the journal are kept.
        out.talk_console.show_cursor(True)
        os._exit(INTERRUPTED)

    for number in (signal.SIGINT, signal.SIGTERM):
        before[number] = signal.signal(number, stop)
    try:
        yield
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)
