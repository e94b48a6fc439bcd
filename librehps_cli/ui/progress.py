"""What a person sees of a run: a line that moves, counts at its end, and how to stop it."""

import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

from librehps.runs.observer import RunObserver
from librehps_cli.ui.errors import INTERRUPTED
from librehps_cli.ui.output import Output

if TYPE_CHECKING:
    from librehps.runs.progress import Distribution, RunProgress


class CommandObserver(RunObserver):
    """Shows a run on stderr; Ctrl-C or SIGTERM sets `stop` while rows are scored."""

    def __init__(self, out: Output) -> None:
        self.stop = threading.Event()
        self._out = out
        self._bar: Any = None

    def note(self, message: str) -> None:
        """Print the message on stderr."""
        self._out.note(message)

    def confirm_download(self, message: str) -> bool:
        """Ask a person at a terminal; nobody else agrees."""
        return self._out.can_ask() and typer.confirm(f"{message}. Download?", err=True)

    @contextmanager
    def watching(self, progress: "RunProgress") -> Iterator[None]:
        """Handle signals, and show a live line where stderr is a terminal."""
        with _signals(self.stop, self._out):
            if not self._out.is_watched:
                yield
                return
            with _progress_bar(self._out) as self._bar:
                self._task = self._bar.add_task(
                    "", total=progress.total, completed=progress.done, rate="", errors=""
                )
                yield
            self._bar = None

    def advanced(self, progress: "RunProgress") -> None:
        """Move the live line."""
        if self._bar is None:
            return
        # A cluster does not say how busy its devices are.
        busy = f"  device {progress.work.busy:.0%}" if progress.work.forward else ""
        self._bar.update(
            self._task,
            completed=progress.done,
            rate=f"{progress.rows_per_s:.1f}/s",
            errors=f"{progress.failed} errors{busy}",
        )


def print_counts(
    ok: int,
    failed: int,
    errors: Mapping[str, int],
    distributions: "Mapping[str, Distribution]",
    out: Output,
) -> None:
    """Print a line always, and tables where a person reads stderr."""
    if out.is_watched and distributions:
        rows = [[axis, *(f"{v:.3f}" for v in found)] for axis, found in distributions.items()]
        out.talk_table(["axis", "mean", "5 %", "median", "95 %"], rows)
    if out.is_watched and errors:
        kinds = [[kind, str(count)] for kind, count in Counter(errors).most_common()]
        out.talk_table(["error", "rows"], kinds)
    out.note(f"{ok} scored, {failed} errors")


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
def _signals(event: threading.Event, out: Output) -> Iterator[None]:
    """Ctrl-C, or SIGTERM, ends the run after the batch on the device; a second one at once."""
    before: dict[int, Any] = {}

    def stop(number: int, frame: object) -> None:
        event.set()
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
