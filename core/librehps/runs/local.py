"""A run on this machine that writes one file."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import chain

from librehps.errors import DownloadNeededError
from librehps.runs.job import Job
from librehps.runs.lifecycle import Run
from librehps.runs.observer import RunObserver
from librehps.runs.options import ModelOptions
from librehps.runs.progress import RunProgress
from librehps.runs.row_scores import RowScores
from librehps.scorer import LibreHPS
from librehps.settings import Settings


@dataclass
class LocalRun(Run[Job]):
    """A run that scores in this process, with a loaded model or one that the run loads."""

    model: ModelOptions | LibreHPS = field(default_factory=ModelOptions)

    @contextmanager
    def _ready(self) -> Iterator[Settings]:
        self._scorer = load_model(self.model, self.observer)
        yield self._scorer.settings

    def _score(self, settings: Settings) -> RunProgress:
        job = self.job
        finder = self.request.prompt_finder(job.facts["has_prompts"])
        engine = self._scorer.engine(finder, RowScores(job.journal.rows))
        engine.stop = self.stop
        progress = RunProgress.after(job.kept, job.facts["total"], engine.work)
        with self.observer.watching(progress), closing(job.run(engine.windows)) as windows:
            for row in chain.from_iterable(windows):
                progress.add(row)
                self.observer.advanced(progress)
        return progress


def load_model(model: ModelOptions | LibreHPS, observer: RunObserver) -> LibreHPS:
    """Return the loaded model; asks the observer before a download that needs permission."""
    if not isinstance(model, ModelOptions):
        return model
    arguments = model.arguments()
    try:
        return LibreHPS.from_pretrained(**arguments)
    except DownloadNeededError as error:
        if not observer.confirm_download(str(error)):
            raise
    return LibreHPS.from_pretrained(**{**arguments, "download": True})
