"""A run on a Ray cluster that writes a folder of parts."""

import logging
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from librehps.engine.disk_cache import cache_folder
from librehps.engine.engine import Work
from librehps.errors import LibreHPSError, UsageError
from librehps.files import counted
from librehps.models.device_list import devices_of, is_several
from librehps.runs.item_json import Listed
from librehps.runs.lifecycle import RequestSource, Run
from librehps.runs.options import ModelOptions, RayOptions
from librehps.runs.parts_job import PartsJob
from librehps.runs.progress import RunProgress
from librehps.runs.ray.actor import Scoring
from librehps.runs.ray.block_shares import BlockShares
from librehps.runs.ray.cluster import find_layout, foresee
from librehps.runs.ray.connection import Head, connected, home_node, resolved
from librehps.runs.ray.engine import RayEngine
from librehps.runs.ray.pool import Pool
from librehps.runs.ray.while_listing import scoring_while_listing
from librehps.scorer import LibreHPS, warn_of_tiny
from librehps.scores.columns import has_hashes
from librehps.settings import Settings

log = logging.getLogger("librehps")


@dataclass
class RayRun(Run[PartsJob]):
    """A run that scores on a Ray cluster, where each actor loads the model.

    `cache` is a folder with scores of other runs, or `none`; None for the model's.
    """

    model: ModelOptions = field(default_factory=ModelOptions)
    cluster: RayOptions = field(default_factory=RayOptions)
    cache: str | Path | None = None
    _engine: RayEngine | None = None

    @contextmanager
    def _ready(self) -> Iterator[Settings]:
        self.cluster = cluster = resolved(self.cluster)
        note = self.observer.note
        if str(self.job.output).startswith("memory://"):
            raise UsageError(
                f"{self.job.output}: unsupported with --engine ray, whose processes share no memory"
            )
        if is_several(self.model.device):
            raise UsageError(
                f"--device {self.model.device}: unsupported with --engine ray, where each actor "
                "has one device",
                hint="Leave out --device: Ray uses every GPU of the cluster.",
            )
        if self.job.is_complete and (known := self._known_settings()):
            yield known
            return
        note("starting Ray" if cluster.address is None else f"joining Ray at {cluster.address}")
        arguments = {**self.model.foreseen_arguments(), "path_or_id": self.model.absolute_model()}
        with connected(cluster):
            self._layout = find_layout(cluster, str(devices_of(self.model.device)[0]), note)
            settings = foresee(partial(LibreHPS.foresee, **arguments), self._layout, note)
            warn_of_tiny(settings)
            try:
                yield settings
            finally:
                if self._engine is not None:
                    self._engine.close()

    def _known_settings(self) -> Settings | None:
        """Return the settings for a complete output without a cluster; None if unknown here.

        What depends on the device is that of the output, unless the options say it.
        """
        model, before = self.model, self.job.origin_settings()
        try:
            here = LibreHPS.foresee(**{**model.foreseen_arguments(), "download": False})
        except LibreHPSError:
            # A device or a model that only the nodes have.
            return None
        is_open = {
            "dtype": model.dtype is None,
            "attention": model.attn_impl == "auto",
            "weights": model.weights == "auto",
            "delta_rule": True,
        }
        return replace(here, **{n: before[n] for n, is_free in is_open.items() if is_free})

    @contextmanager
    def _listing(self, source: RequestSource | None, settings: Settings) -> Iterator[Listed | None]:
        if source is None or self.job.reuses_output:
            yield source
            return
        engine = self._opened(settings, source.has_prompts)
        engine.blocks = BlockShares(self.job.block_writer(settings))
        try:
            with scoring_while_listing(source, engine) as listed:
                yield listed
        except BaseException:
            # The journal is deleted next, where actors write blocks.
            engine.close()
            raise

    def _score(self, settings: Settings) -> RunProgress:
        job, layout, note = self.job, self._layout, self.observer.note
        progress = RunProgress.after(job.kept, job.facts["total"], Work())
        if not job.remaining:
            return progress
        engine = self._engine
        if engine is None:
            engine = self._opened(settings, job.facts["has_prompts"])
            engine.blocks = BlockShares.found(job.writer, job.units())
        progress.merge(engine.blocks.progress)
        if before := engine.blocks.progress.ok:
            note(f"{counted(before, 'item')} were scored while the source was listed")
        on = f"{layout.num_gpus:g} GPUs" if layout.num_gpus else f"{layout.threads} threads"
        actors = counted(layout.actors, "actor")
        note(f"scoring {counted(job.remaining - before, 'item')} on {actors} with {on} each")
        parts = job.run_parts(engine.run)
        with self.observer.watching(progress), closing(parts) as results:
            for result in results:
                progress.merge(result.progress)
                self.observer.advanced(progress)
        return progress

    def _opened(self, settings: Settings, has_prompts: bool) -> RayEngine:
        scoring = self._scoring(settings, has_prompts)
        pool = Pool(self.cluster, self._layout, scoring, self.observer.note)
        self._engine = RayEngine(pool, Head.of_cluster(), self.stop)
        return self._engine

    def _scoring(self, settings: Settings, has_prompts: bool) -> Scoring:
        model = self.model
        arguments = {**model.arguments(), "path_or_id": model.absolute_model()}
        return Scoring(
            partial(LibreHPS.from_pretrained, **arguments),
            settings,
            self.request.prompt_finder(has_prompts),
            self.job.journal.folder.absolute(),
            str(Path.cwd()),
            self._layout.threads,
            home_node(),
            _made(cache_folder(model.cache if self.cache is None else self.cache)),
            self._has_hashes(),
        )

    def _has_hashes(self) -> bool:
        """Return True if rows need perceptual hashes: a resumed run is as it was started."""
        journal = self.job.journal
        return journal.has_hashes if self.job.is_started else has_hashes(self.columns)


def _made(folder: Path | None) -> Path | None:
    """Return the absolute folder of the score cache, which is made; None if it cannot be made."""
    if folder is None:
        return None
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        log.warning("score cache %s: not used (%s)", folder, error)
        return None
    return folder.absolute()
