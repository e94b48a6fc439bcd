"""The steps of a run, the same for every engine."""

import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from librehps.engine.engine import FindPrompt
from librehps.items.passed_over import PassedOver
from librehps.media.remarks import notes_of
from librehps.runs.imports import loaded_frozen
from librehps.runs.item_json import Listed
from librehps.runs.job import Job
from librehps.runs.observer import RunObserver
from librehps.runs.progress import RunProgress
from librehps.runs.summary import RunSummary
from librehps.settings import Settings
from librehps.storage.url_path import AnyPath

J = TypeVar("J", bound=Job)
EMPTY_SHARD = "this shard contains no items"


class RequestSource(Listed, Protocol):
    """The items of a request; `has_prompts`: some may have a prompt."""

    has_prompts: bool


class Request(Protocol):
    """A request that a run works on: `RunRequest`, or one of a command with items of its own."""

    def check_output(self, output: AnyPath) -> None: ...

    def open_source(self) -> RequestSource: ...

    def prompt_finder(self, has_prompts: bool) -> FindPrompt: ...

    def facts(self) -> dict[str, Any]: ...


@dataclass
class Run(ABC, Generic[J]):
    """A run that writes the job's output; setting `stop` ends the run after the current batch."""

    request: Request
    job: J
    columns: Sequence[str] | str = "default"
    observer: RunObserver = field(default_factory=RunObserver)
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> RunSummary:
        """Score the remaining items and write the output; keep the journal if interrupted.

        Paths and prompts are checked before a model is loaded. Settings and request are compared
        with those of an earlier run before an item is scored.
        """
        self.request.check_output(self.job.output)
        source = self._open_source()
        if not self.job.is_complete:
            self.job.check_writable()
        with self._ready() as settings, loaded_frozen():
            if self.job.is_complete:
                return self._already_complete(settings)
            with self.job:
                # A watch says what each pass has changed.
                if source is not None and not self.job.writes_partly:
                    self.observer.note("listing the items to score")
                with self._listing(source, settings) as listed:
                    self.job.begin(settings, self.request.facts(), listed, self.columns)
                return self._score_and_finish(settings)

    @abstractmethod
    def _ready(self) -> AbstractContextManager[Settings]:
        """Return a context manager that loads the model and yields the settings of its scores."""

    def _listing(
        self, source: RequestSource | None, settings: Settings
    ) -> AbstractContextManager[Listed | None]:
        """Return a context manager that yields the source to list, and does more meanwhile."""
        return nullcontext(source)

    @abstractmethod
    def _score(self, settings: Settings) -> RunProgress:
        """Score the remaining items, and return the progress of the run."""

    def _open_source(self) -> RequestSource | None:
        """Return the checked source; None where an earlier run has listed its items."""
        if self.job.is_started or self.job.is_complete:
            return None
        source = self.request.open_source()
        self.request.prompt_finder(source.has_prompts)
        return source

    def _already_complete(self, settings: Settings) -> RunSummary:
        self.job.check_origin(settings, self.request.facts())
        if self.job.retries:
            self.job.check_names(self.columns, settings)
        self.job.journal.delete_rest()
        ok, failed, errors = self.job.finished_counts()
        total = ok + failed
        return RunSummary(self.job.output, total, ok, failed, errors, kept=total, was_complete=True)

    def _score_and_finish(self, settings: Settings) -> RunSummary:
        facts, kept = self.job.facts, self.job.kept
        note_source(facts, self.observer)
        for note in self.job.notes(self.columns):
            self.observer.note(note)
        if (before := kept.ok + kept.failed) and not self.job.writes_partly:
            self.observer.note(f"{before} of {facts['total']} items were scored before")
        progress = self._score(settings)
        for note in notes_of(progress.remarks, settings):
            self.observer.note(note)
        is_interrupted = self.stop.is_set() and self.job.is_incomplete
        if not is_interrupted or self.job.writes_partly:
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
            passed_over=_passed_over(facts),
            changes=self.job.changes,
        )


def _passed_over(facts: Mapping[str, Any]) -> PassedOver:
    """Return what the listing passed over; journals of older versions have the number alone."""
    record = facts.get("passed_over")
    if record is None:
        found = PassedOver()
        if facts["skipped"]:
            found.add("", count=facts["skipped"])
        return found
    return PassedOver.from_record(record)


def note_source(facts: Mapping[str, Any], observer: RunObserver) -> None:
    """Note an empty shard, skipped files, and columns that are not in the output."""
    if not facts["total"]:
        observer.note(EMPTY_SHARD)
    for note in _passed_over(facts).notes():
        observer.note(note)
    note_columns(facts, observer)


def note_columns(facts: Mapping[str, Any], observer: RunObserver) -> None:
    """Note columns of manifests and fields of tars that are not in the output."""
    if facts["dropped"]:
        observer.note(f"skipped columns with binary values: {', '.join(facts['dropped'])}")
    # Journals of earlier versions do not have it.
    if left_out := facts.get("left_out"):
        first = left_out[0]
        observer.note(
            f"skipped fields of .json files in tars, since output columns have their names: "
            f"{', '.join(left_out)} (--rename {first}=my_{first} copies it)"
        )
