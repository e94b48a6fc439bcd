"""The steps of a run in their order, the same for every engine."""

import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from librehps.items.source import Source
from librehps.runs.job import Job
from librehps.runs.observer import RunObserver
from librehps.runs.progress import RunProgress
from librehps.runs.request import RunRequest
from librehps.runs.summary import RunSummary
from librehps.settings import Settings

J = TypeVar("J", bound=Job)
EMPTY_SHARD = "no item falls into this shard"


@dataclass
class Run(ABC, Generic[J]):
    """Scores what is requested into the job's output; `stop` ends it after the current batch."""

    request: RunRequest
    job: J
    columns: Sequence[str] | str = "default"
    observer: RunObserver = field(default_factory=RunObserver)
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> RunSummary:
        """Score what is left, and write the output, or keep the journal where interrupted.

        The paths and prompts are checked before a model is loaded; settings and request are
        compared with those of an earlier run before anything is scored.
        """
        self.request.check_output(self.job.output)
        source = self._open_source()
        with self._ready() as settings:
            if self.job.is_complete:
                return self._already_complete(settings)
            with self.job:
                if source is not None:
                    self.observer.note("listing what is to be scored")
                self.job.begin(settings, self.request.facts(), source, self.columns)
                return self._score_and_finish(settings)

    @abstractmethod
    def _ready(self) -> AbstractContextManager[Settings]:
        """Load the model, or reach it elsewhere; gives the settings that its scores depend on."""

    @abstractmethod
    def _score(self, settings: Settings) -> RunProgress:
        """Score what is left."""

    def _open_source(self) -> Source | None:
        """The source, checked; None where an earlier run has listed it."""
        if self.job.is_started or self.job.is_complete:
            return None
        source = self.request.open_source()
        self.request.prompt_finder(source.has_prompts)
        return source

    def _already_complete(self, settings: Settings) -> RunSummary:
        self.job.check_origin(settings, self.request.facts())
        ok, failed, errors = self.job.finished_counts()
        total = ok + failed
        return RunSummary(self.job.output, total, ok, failed, errors, kept=total, was_complete=True)

    def _score_and_finish(self, settings: Settings) -> RunSummary:
        facts, kept = self.job.facts, self.job.kept
        tell_source(facts, self.observer)
        if before := kept.ok + kept.failed:
            self.observer.note(f"{before} of {facts['total']} were done before")
        progress = self._score(settings)
        is_interrupted = self.stop.is_set() and self.job.is_short
        if not is_interrupted:
            self.job.finish(settings, self.columns)
        return RunSummary(
            self.job.output,
            facts["total"],
            progress.ok,
            progress.failed,
            dict(progress.errors),
            facts["skipped"],
            before,
            interrupted=is_interrupted,
            distributions=progress.distributions(),
        )


def tell_source(facts: Mapping[str, Any], observer: RunObserver) -> None:
    """Note what of the source is not scored, or not kept."""
    if not facts["total"]:
        observer.note(EMPTY_SHARD)
    if facts["skipped"]:
        observer.note(f"{facts['skipped']} files of other kinds were skipped")
    if facts["dropped"]:
        observer.note(f"columns of bytes are left out: {', '.join(facts['dropped'])}")
