"""Callbacks of a run: notes, progress, and the question before a download."""

import logging
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from librehps.runs.own_values import with_dict

if TYPE_CHECKING:
    from librehps.runs.progress import RunProgress
    from librehps.runs.summary import RunSummary
    from librehps.scores.scored_rows import ScoredRows
    from librehps.types import ScoredRow

log = logging.getLogger("librehps")


class RunObserver:
    """The callbacks of a run; override any method. By default notes are logged at INFO."""

    def note(self, message: str) -> None:
        """Receive a one-line message: skipped files, rows scored before, waiting."""
        log.info("%s", message)

    def confirm_download(self, message: str) -> bool:
        """Return whether the model in the message may be downloaded; by default False."""
        return False

    def watching(self, progress: "RunProgress") -> AbstractContextManager[object]:
        """Return a context manager that stays open while rows are scored."""
        return nullcontext()

    def updated(self, summary: "RunSummary") -> None:
        """Receive the summary after each pass of `watch_to`, once the output is written."""

    def scored(self, row: "ScoredRow") -> None:
        """Receive each row that is scored in this process, before `advanced`."""

    def scored_window(self, rows: "ScoredRows", progress: "RunProgress") -> None:
        """Receive the rows that were written together, and add them to the progress.

        By default this calls `scored` and `advanced` for each row, where they are overridden. Here
        the own columns of an item may be a read-only mapping.
        """
        if not (self._overrides("scored") or self._overrides("advanced")):
            progress.add_all(rows)
            return
        for row in rows:
            progress.add(row)
            self.scored(with_dict(row))
            self.advanced(progress)

    def advanced(self, progress: "RunProgress") -> None:
        """Receive the progress after each row; with Ray, after each table of rows."""

    def _overrides(self, name: str) -> bool:
        """Return whether a method is not that of this class, also where the instance has it."""
        return getattr(getattr(self, name), "__func__", None) is not getattr(RunObserver, name)
