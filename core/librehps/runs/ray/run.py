"""A run on a Ray cluster that writes a folder of parts."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from librehps.engine.engine import Work
from librehps.errors import UsageError
from librehps.models.device_list import devices_of, is_several
from librehps.runs.lifecycle import Run
from librehps.runs.options import ModelOptions, RayOptions
from librehps.runs.parts_job import PartsJob
from librehps.runs.progress import RunProgress
from librehps.runs.ray.cluster import connected, find_layout, foresee
from librehps.runs.ray.engine import Decoding, RayEngine, Scoring
from librehps.scorer import LibreHPS, warn_of_tiny
from librehps.settings import Settings


@dataclass
class RayRun(Run[PartsJob]):
    """A run that scores on a Ray cluster, where each actor loads the model."""

    model: ModelOptions = field(default_factory=ModelOptions)
    cluster: RayOptions = field(default_factory=RayOptions)

    @contextmanager
    def _ready(self) -> Iterator[Settings]:
        cluster, note = self.cluster, self.observer.note
        if is_several(self.model.device):
            raise UsageError(
                f"--device {self.model.device}: unsupported with --engine ray, where each actor "
                "has one device",
                hint="Leave out --device: Ray uses every GPU of the cluster.",
            )
        note("starting Ray" if cluster.address is None else f"joining Ray at {cluster.address}")
        arguments = {**self.model.foreseen_arguments(), "path_or_id": self.model.absolute_model()}
        with connected(cluster):
            self._layout = find_layout(cluster, str(devices_of(self.model.device)[0]), note)
            settings = foresee(partial(LibreHPS.foresee, **arguments), self._layout, note)
            warn_of_tiny(settings)
            yield settings

    def _score(self, settings: Settings) -> RunProgress:
        job, layout = self.job, self._layout
        engine = self._engine(settings) if job.remaining else None
        work = Work() if engine is None else engine.work
        progress = RunProgress.after(job.kept, job.facts["total"], work)
        if engine is None:
            return progress
        on = f"{layout.num_gpus:g} GPUs" if layout.num_gpus else f"{layout.threads} threads"
        self.observer.note(
            f"scoring {job.remaining} items on {layout.actors} actors with {on} each"
        )
        parts = job.run_parts(partial(engine.run, total=job.remaining))
        with self.observer.watching(progress), closing(parts) as tables:
            for table in tables:
                progress.add_table(table)
                self.observer.advanced(progress)
        return progress

    def _engine(self, settings: Settings) -> RayEngine:
        facts, model = self.job.facts, self.model
        decoding = Decoding(
            str(Path.cwd()),
            self.model.absolute_model(),
            model.revision,
            model.download,
            model.max_prompt_tokens,
            model.video_backend,
            self.request.prompt_finder(facts["has_prompts"]),
        )
        arguments = {**model.arguments(), "path_or_id": model.absolute_model()}
        load = partial(LibreHPS.from_pretrained, **arguments)
        size, threads = model.batch_size or 0, self._layout.threads
        scoring = Scoring(load, settings, facts["own_columns"], threads, size)
        return RayEngine(self.cluster, self._layout, decoding, scoring, stop=self.stop)
