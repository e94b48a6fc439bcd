"""A run on this machine that writes one file."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from librehps.engine.disk_cache import FirstKnown
from librehps.engine.engine import LocalEngine, Work
from librehps.engine.score_cache import KnownScores
from librehps.errors import DownloadNeededError
from librehps.runs.job import Job
from librehps.runs.lifecycle import Run
from librehps.runs.observer import RunObserver
from librehps.runs.options import ModelOptions
from librehps.runs.progress import RunProgress
from librehps.scorer import LibreHPS
from librehps.scores.scored_rows import as_columns
from librehps.settings import Settings

T = TypeVar("T")


@dataclass
class LocalRun(Run[Job]):
    """A run that scores in this process, with a loaded model or one that the run loads.

    `cache` is a folder with scores of other runs, or `none`; None for the model's.
    """

    model: ModelOptions | LibreHPS = field(default_factory=ModelOptions)
    cache: str | Path | None = None
    _scorer: LibreHPS | None = None

    @contextmanager
    def _ready(self) -> Iterator[Settings]:
        job = self.job
        is_earlier = job.is_started or job.is_complete or job.reuses_output or job.updates
        if is_earlier and isinstance(self.model, ModelOptions):
            # Refused, or found complete, without reading the weights.
            yield foreseen(self.model, self.observer)
        else:
            yield self.loaded().settings

    def loaded(self) -> LibreHPS:
        """Return the model, which the first call loads."""
        if self._scorer is None:
            self._scorer = load_model(self.model, self.observer)
        return self._scorer

    def _score(self, settings: Settings) -> RunProgress:
        job = self.job
        if not job.remaining:
            return RunProgress.after(job.kept, job.facts["total"], Work())
        # Imported here: a row on stdout needs no pyarrow.
        from librehps.runs.row_scores import RowScores

        engine = self._engine(RowScores(job.journal.rows))
        if job.known is not None:
            known = FirstKnown(job.known, engine.decoder.cache)
            engine.decoder = replace(engine.decoder, cache=known)
        progress = RunProgress.after(job.kept, job.facts["total"], engine.work)
        with self.observer.watching(progress), closing(job.run(engine.windows)) as windows:
            for rows in windows:
                self.observer.scored_window(as_columns(rows, settings.axes), progress)
        return progress

    def _engine(self, index: KnownScores | None = None) -> LocalEngine:
        """Return the engine of the loaded model, once the model is found to be that of the job."""
        finder = self.request.prompt_finder(self.job.facts["has_prompts"])
        scorer = self.loaded()
        self.job.check_settings(scorer.settings)
        hashes = self.job.journal.has_hashes
        engine = scorer.engine(finder, index, cache=self.cache, hashes=hashes)
        engine.stop = self.stop
        return engine


def load_model(model: ModelOptions | LibreHPS, observer: RunObserver) -> LibreHPS:
    """Return the loaded model; asks the observer before a download that needs permission."""
    if not isinstance(model, ModelOptions):
        return model
    return _confirmed(LibreHPS.from_pretrained, model.arguments(), observer)


def foreseen(model: ModelOptions, observer: RunObserver) -> Settings:
    """Return the settings that `load_model` leads to, without reading the weights."""
    return _confirmed(LibreHPS.foresee, model.foreseen_arguments(), observer)


def _confirmed(task: Callable[..., T], arguments: Mapping[str, Any], observer: RunObserver) -> T:
    """Return what the task returns, after the observer's permission to download if needed."""
    try:
        return task(**arguments)
    except DownloadNeededError as error:
        if not observer.confirm_download(str(error)):
            raise
    return task(**{**arguments, "download": True})
