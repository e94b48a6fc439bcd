"""librehps score --engine ray: the same stages on a Ray cluster, into a folder of parts."""

from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from librehps.errors import UsageError
from librehps.runs.parts_job import PartsJob
from librehps.runs.ray.cluster import ActorLayout, Cluster, connected, find_layout, foresee
from librehps.runs.ray.engine import Decoding, RayEngine, Scoring
from librehps.scorer import LibreHPS, warn_of_tiny
from librehps.scores.parts import Parts, part_files
from librehps.settings import Settings
from librehps_cli.commands.score import Request, check_not_a_source, check_origin, tell_listing
from librehps_cli.ui.errors import INTERRUPTED, exit_code
from librehps_cli.ui.load import load_arguments, open_source, prompt_finder
from librehps_cli.ui.options import RayOptions
from librehps_cli.ui.output import Output
from librehps_cli.ui.progress import Tally, interruptible, shown_tables

if TYPE_CHECKING:
    from librehps.items.source import Source


def to_folder(request: Request, options: RayOptions, job: PartsJob, out: Output) -> int:
    """Score into the job's folder; gives the exit code."""
    check_not_a_source(request, job.output)
    source = None
    if not job.is_begun and not job.is_complete:
        source = open_source(request.paths, request.sources, request.shard)
        prompt_finder(request.prompts, source.has_prompts)
    cluster = Cluster(
        options.ray_address, options.num_gpus, options.concurrency, request.models.workers
    )
    out.note("starting Ray" if cluster.address is None else f"joining Ray at {cluster.address}")
    with connected(cluster):
        layout = find_layout(cluster, request.models.device, out.note)
        foreseen = partial(LibreHPS.foresee, **_foreseen(request))
        settings = foresee(foreseen, layout, out.note)
        warn_of_tiny(settings)
        if job.is_complete:
            return _complete(request, job, settings, out)
        with job:
            _begin(request, job, settings, source, out)
            engine = _engine(request, job, settings, cluster, layout)
            return _run(job, engine, out)


def _begin(
    request: Request, job: PartsJob, settings: Settings, source: "Source | None", out: Output
) -> None:
    if source is not None:
        out.note("listing what is to be scored")
    if job.redoes:
        _check_origin(request, job, settings)
    job.begin(settings, request.facts(), source, request.columns)
    facts = job.journal.run
    tell_listing(facts, out)
    if kept := facts["total"] - job.left:
        out.note(f"{kept} of {facts['total']} were done before")


def _run(job: PartsJob, engine: RayEngine, out: Output) -> int:
    ok, failed = job.kept
    tally, left = Tally(ok=ok, failed=failed), job.left
    if left:
        layout = engine.layout
        on = f"{layout.num_gpus:g} GPUs" if layout.num_gpus else f"{layout.threads} threads"
        out.note(f"{left} items on {layout.actors} actors with {on} each")
        parts = job.run_parts(partial(engine.run, total=left))
        with interruptible(engine, out), closing(parts) as rows:
            for _ in shown_tables(rows, job.journal.run["total"], tally, engine, out):
                pass
    if engine.stop.is_set() and job.is_short:
        tally.print_summary(out)
        out.note("interrupted; whole parts are kept, --resume goes on")
        return INTERRUPTED
    job.finish_parts()
    tally.print_summary(out)
    return exit_code(tally.ok, tally.failed)


def _engine(
    request: Request, job: PartsJob, settings: Settings, cluster: Cluster, layout: ActorLayout
) -> RayEngine:
    facts, arguments = job.journal.run, _arguments(request)
    decoding = Decoding(
        str(Path.cwd()),
        arguments["path_or_id"],
        arguments["revision"],
        arguments["download"],
        arguments["max_prompt_tokens"],
        arguments["video_backend"],
        prompt_finder(request.prompts, facts["has_prompts"]),
    )
    load = partial(LibreHPS.from_pretrained, **arguments)
    size = request.models.batch_size or 0
    scoring = Scoring(load, settings, facts["own_columns"], layout.threads, size)
    return RayEngine(cluster, layout, decoding, scoring)


def _arguments(request: Request) -> dict[str, Any]:
    arguments = load_arguments(request.models, request.prompts)
    # Workers begin in other folders.
    folder = Path(request.models.model).expanduser()
    is_folder = folder.is_dir() and request.models.model != "tiny"
    return {**arguments, "path_or_id": str(folder.absolute())} if is_folder else arguments


def _foreseen(request: Request) -> dict[str, Any]:
    ignored = ("batch_size", "workers", "max_prompt_tokens", "video_backend")
    return {name: value for name, value in _arguments(request).items() if name not in ignored}


def _check_origin(request: Request, job: PartsJob, settings: Settings) -> None:
    files = part_files(job.output)
    if not files:
        raise UsageError(f"{job.output} holds no parts", hint="--overwrite begins anew.")
    check_origin(request, files[0], job.output, settings)


def _complete(request: Request, job: PartsJob, settings: Settings, out: Output) -> int:
    """The exit code of a folder that is done, once it is sure that it is this run's."""
    _check_origin(request, job, settings)
    done = Parts(job.output, 0, "").done()
    out.note(f"{job.output} is complete: {done['ok']} scored, {done['errors']} errors")
    return exit_code(done["ok"], done["errors"])
