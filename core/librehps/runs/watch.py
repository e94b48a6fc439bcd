"""Keep an output up to date with folders while a generator writes into them."""

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from librehps.items.changes import Batch
from librehps.items.settling import PATIENCE_S, Settling
from librehps.items.watched import FolderGoneError
from librehps.runs.observer import RunObserver
from librehps.runs.summary import RunSummary

if TYPE_CHECKING:
    from librehps.runs.progress import RunProgress
    from librehps.scores.scored_rows import ScoredRows
    from librehps.types import ScoredRow

# From the begin of a pass to that of the next this many times the time passes that the first took
# beside scoring, so that listing and writing are a fifth of all work; but at most MAX_PERIOD_S.
PERIOD_FACTOR, MAX_PERIOD_S = 5.0, 300.0
# A pass with much to score ends after this time, or later where passes are costly, so that its rows
# are in the output; the next pass goes on.
PASS_S = 30.0
# Without a report of a change, the folders are listed again after this time: reports can be lost.
SWEEP_S = 600.0


@dataclass
class Pace:
    """The times of passes, chosen so that their fixed cost stays a small share.

    `fixed_s` is what the last pass took beside scoring, 0 for the first, which also imports.
    """

    now: Callable[[], float] = time.monotonic
    fixed_s: float = 0.0
    began: float = field(init=False)
    _passes: int = 0

    def __post_init__(self) -> None:
        self.began = self.now()

    def end(self, began: float, scoring_s: float) -> None:
        """Note that a pass has ended, of whose time `scoring_s` was scoring."""
        self.began, self._passes = began, self._passes + 1
        self.fixed_s = self.now() - began - scoring_s if self._passes > 1 else 0.0

    @property
    def may_begin(self) -> bool:
        """True once the next pass may begin."""
        period = min(PERIOD_FACTOR * self.fixed_s, max(MAX_PERIOD_S, 2 * self.fixed_s))
        return self.now() - self.began >= period

    @property
    def must_sweep(self) -> bool:
        """True once a pass is due although no change was reported."""
        return self.now() - self.began >= max(SWEEP_S, PERIOD_FACTOR * self.fixed_s)

    @property
    def pass_s(self) -> float:
        """Seconds after which a pass ends though items are left to score."""
        return max(PASS_S, PERIOD_FACTOR * self.fixed_s)


class PassObserver(RunObserver):
    """An observer of one pass: measures scoring, ends a long pass, repeats no note."""

    def __init__(self, inner: RunObserver, stop: "PassStop", said: set[str], pace: Pace) -> None:
        self._inner, self._stop, self._said, self._pace = inner, stop, said, pace
        self._began = pace.now()
        self.scoring_s = 0.0

    def note(self, message: str) -> None:
        """Pass a message on, unless an earlier pass had the same one, also with other numbers."""
        text = re.sub(r"\d+", "", message)
        if text not in self._said:
            self._said.add(text)
            self._inner.note(message)

    def confirm_download(self, message: str) -> bool:
        """Return the answer of the inner observer."""
        return self._inner.confirm_download(message)

    @contextmanager
    def watching(self, progress: "RunProgress") -> Iterator[None]:
        """Measure the time in which rows are scored."""
        began = self._pace.now()
        with self._inner.watching(progress):
            yield
        self.scoring_s = self._pace.now() - began

    def scored(self, row: "ScoredRow") -> None:
        """Pass the row on."""
        self._inner.scored(row)

    def scored_window(self, rows: "ScoredRows", progress: "RunProgress") -> None:
        """Pass the rows on; stop the pass once it takes long."""
        self._inner.scored_window(rows, progress)
        self._stop_in_time()

    def advanced(self, progress: "RunProgress") -> None:
        """Pass the progress on; stop the pass once it takes long."""
        self._inner.advanced(progress)
        self._stop_in_time()

    def _stop_in_time(self) -> None:
        if self._pace.now() - self._began > self._pace.pass_s:
            self._stop.set()


class PassStop(threading.Event):
    """The stop of one pass, which is also set while the stop of the whole watch is."""

    def __init__(self, whole: threading.Event) -> None:
        super().__init__()
        self._whole = whole

    def is_set(self) -> bool:
        """Return whether the pass, or the watch, must stop."""
        return super().is_set() or self._whole.is_set()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the stop of the whole watch: a pass is stopped by the thread that runs it."""
        return self._whole.wait(timeout) or super().is_set()


# Takes the observer and the stop of a pass, and whether rows of deleted files may be dropped.
OnePass = Callable[[RunObserver, threading.Event], RunSummary]


@dataclass
class Watch:
    """Passes over folders whenever files have changed and are whole, until `stop` is set."""

    one_pass: OnePass
    settling: Settling
    observer: RunObserver
    stop: threading.Event
    pace: Pace = field(default_factory=Pace)
    summary: RunSummary | None = None
    _is_due: bool = True
    _said: set[str] = field(default_factory=set)

    def run(self, batches: Iterator[Batch], look: Callable[[], None]) -> RunSummary | None:
        """Return the summary of the last pass; `look` looks at every file once, at the start."""
        began = self.pace.now()
        for number, batch in enumerate(batches):
            if not number:
                # A folder that is gone by now is waited for.
                with suppress(FolderGoneError):
                    look()
            self._take(batch)
            is_quiet = self.summary or not self.settling.waiting
            if not (is_quiet or self.pace.now() - began > PATIENCE_S):
                continue
            if self.pace.must_sweep or (self._is_due and self.pace.may_begin):
                self._pass()
        return self.summary

    @property
    def is_behind(self) -> bool:
        """True if files have changed since the last pass."""
        return self._is_due or self.settling.waiting > 0

    def _take(self, batch: Batch) -> None:
        """Look at the files that changed, and again at those that were not whole."""
        settled = [path for path in batch.changed if self.settling.is_whole(path)]
        settled += self.settling.settled()
        self._is_due |= bool(settled or batch.is_unknown)

    def _pass(self) -> None:
        self._is_due = False
        stop, began = PassStop(self.stop), self.pace.now()
        observer = PassObserver(self.observer, stop, self._said, self.pace)
        try:
            self.summary = self.one_pass(observer, stop)
        except FolderGoneError:
            # The next batch comes once the folder is back.
            self._is_due = True
            return
        self._is_due |= bool(self.summary.remaining)
        self.pace.end(began, observer.scoring_s)
        self.observer.updated(self.summary)
