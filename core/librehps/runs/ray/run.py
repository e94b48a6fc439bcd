"""A run on a Ray cluster that writes a folder of parts."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from librehps.engine.engine import Work
from librehps.errors import UsageError
from librehps.files import counted
from librehps.models.device_list import devices_of, is_several
from librehps.runs.lifecycle import Run
from librehps.runs.options import ModelOptions, RayOptions
from librehps.runs.parts_job import PartsJob
from librehps.runs.progress import RunProgress
from librehps.runs.ray.actor import Scoring
from librehps.runs.ray.cluster import find_layout, foresee
from librehps.runs.ray.connection import connected, home_node, resolved
from librehps.runs.ray.engine import RayEngine
from librehps.scorer import LibreHPS, warn_of_tiny
from librehps.settings import Settings


@dataclass
class RayRun(Run[PartsJob]):
    """A run that scores on a Ray cluster, where each actor loads the model."""

    model: ModelOptions = field(default_factory=ModelOptions)
    cluster: RayOptions = field(default_factory=RayOptions)

    @contextmanager
    def _ready(self) -> Iterator[Settings]:
        self.cluster = cluster = resolved(self.cluster)
        note = self.observer.note
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
        job, layout, note = self.job, self._layout, self.observer.note
        progress = RunProgress.after(job.kept, job.facts["total"], Work())
        if not job.remaining:
            return progress
        on = f"{layout.num_gpus:g} GPUs" if layout.num_gpus else f"{layout.threads} threads"
        actors = counted(layout.actors, "actor")
        note(f"scoring {counted(job.remaining, 'item')} on {actors} with {on} each")
        engine = RayEngine(self.cluster, layout, self._scoring(settings), note, self.stop)
        parts = job.run_parts(engine.run)
        with self.observer.watching(progress), closing(parts) as results:
            for result in results:
                progress.merge(result.progress)
                self.observer.advanced(progress)
        return progress

    def _scoring(self, settings: Settings) -> Scoring:
        model = self.model
        arguments = {**model.arguments(), "path_or_id": model.absolute_model()}
        return Scoring(
            partial(LibreHPS.from_pretrained, **arguments),
            self.request.prompt_finder(self.job.facts["has_prompts"]),
            self.job.writer,
            str(Path.cwd()),
            self._layout.threads,
            home_node(),
        )
