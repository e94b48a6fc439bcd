"""librehps score: every item's scores, as a table, JSON Lines or Parquet."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from librehps_cli.ui.errors import INTERRUPTED, exit_code
from librehps_cli.ui.load import load_scorer, open_source, prompt_finder
from librehps_cli.ui.options import (
    Json,
    ModelOptions,
    Paths,
    PromptOptions,
    Quiet,
    RayOptions,
    SourceFlags,
    grouped,
)
from librehps_cli.ui.output import Output, axes_in, figures, percent
from librehps_cli.ui.progress import Tally, interruptible, shown

if TYPE_CHECKING:
    from librehps import LibreHPS
    from librehps.decide.probability import Platt
    from librehps.runs.job import Job
    from librehps.settings import Settings

Record = dict[str, Any]
EMPTY_SHARD = "no item falls into this shard"


@grouped
def score(
    paths: Paths,
    sources: SourceFlags,
    prompts: PromptOptions,
    models: ModelOptions,
    ray: RayOptions,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="X.parquet, X.jsonl, or - for stdout; with Ray a folder."
        ),
    ] = None,
    columns: Annotated[
        str,
        typer.Option(help="default, full (sigmas, scalar, prompt_tokens, sha256), or A,B,C."),
    ] = "default",
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a run that did not finish.")
    ] = False,
    retry_errors: Annotated[
        bool, typer.Option("--retry-errors", help="Resume, and do rows with errors again.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the output.")] = False,
    shard: Annotated[
        str | None, typer.Option(help="I/N: the I-th of N parts, the same on every machine.")
    ] = None,
    json: Json = None,
    quiet: Quiet = False,
) -> None:
    """Score images and videos against their prompts."""
    from librehps.errors import UsageError

    file = None if output is None or str(output) == "-" else output
    out = Output(quiet, True if output is not None and file is None else json)
    if file is None and (resume or retry_errors):
        raise UsageError("--resume and --retry-errors need an output file (-o)")
    request = Request(paths, sources, prompts, models, shard, _columns(columns))
    _check_engine(ray, file)
    if file is None:
        raise typer.Exit(_to_stdout(request, out))
    ways = {"resume": resume, "retry_errors": retry_errors, "overwrite": overwrite}
    if ray.engine == "ray":
        from librehps.extras import require

        require("ray", "--engine ray")
        from librehps.runs.parts_job import PartsJob
        from librehps_cli.ui.score_ray import to_folder

        raise typer.Exit(to_folder(request, ray, PartsJob(file, **ways), out))
    from librehps.runs.job import Job

    raise typer.Exit(_to_file(request, Job(file, **ways), out))


def _check_engine(ray: RayOptions, file: Path | None) -> None:
    from librehps.errors import UsageError

    if ray.engine == "ray" and file is None:
        raise UsageError("--engine ray writes a folder of parts", hint="Name one with -o.")
    if ray.engine == "local" and ray.is_asked:
        raise UsageError("--num-gpus, --concurrency and --ray-address go with --engine ray")


@dataclass(frozen=True)
class Request:
    """What one call asks for."""

    paths: list[str]
    sources: SourceFlags
    prompts: PromptOptions
    models: ModelOptions
    shard: str | None
    columns: str | list[str]

    def facts(self) -> Record:
        """What a resumed run must be asked for again; relative paths belong to their folder."""
        from librehps.media.archived import is_remote

        local = [p for p in self.paths if p != "-" and not is_remote(p)]
        is_fixed = all(Path(path).is_absolute() for path in local) and "-" not in self.paths
        return {
            "folder": None if is_fixed else str(Path.cwd()),
            "paths": self.paths,
            "shard": self.shard,
            **vars(self.prompts),
            **vars(self.sources),
        }


def _to_stdout(request: Request, out: Output) -> int:
    """Rows as they come, or a ranking once all are there; gives the exit code."""
    from librehps.scores.row import to_full_record

    source = open_source(request.paths, request.sources, request.shard)
    finder = prompt_finder(request.prompts, source.has_prompts)
    items = iter(source.items())
    scorer = load_scorer(request.models, request.prompts, out)
    engine = scorer.engine(finder)
    asked = not out.json or request.models.calibration is not None
    calibrator = scorer.calibrator(request.models.calibration) if asked else None
    tally, kept = Tally(), []
    with interruptible(engine, out):
        for row in shown(engine.run(items), None, tally, engine, out):
            record = {**to_full_record(row, scorer.settings), **row.item.extra}
            if out.json:
                out.records([_only(record, request, row.item.extra, scorer.axes)])
            else:
                kept.append(record)
    if not out.json:
        _print_ranking(kept, calibrator, out)
    if source.skipped:
        out.note(f"{source.skipped} files of other kinds were skipped")
    is_stopped = engine.stop.is_set()
    if not (tally.ok or tally.failed or is_stopped):
        out.note(EMPTY_SHARD)
    tally.print_summary(out)
    return INTERRUPTED if is_stopped else exit_code(tally.ok, tally.failed)


def _columns(text: str) -> str | list[str]:
    """The name of a set of columns, or the columns themselves."""
    from librehps.scores.columns import SETS

    return text if text in SETS else [name.strip() for name in text.split(",")]


def _only(record: Record, request: Request, own: Mapping[str, Any], axes: Sequence[str]) -> Record:
    """The chosen columns; raises UsageError for one that there is not."""
    from librehps.scores.columns import chosen_columns

    names = chosen_columns(request.columns, dict.fromkeys(own, ""), axes)
    return {name: record[name] for name in names}


def _to_file(request: Request, job: "Job", out: Output) -> int:
    """Score into the job's output, journalled; gives the exit code."""
    from librehps.engine.score_cache import ScoreCache

    check_not_a_source(request, job.output)
    source = None
    if not job.is_begun and not job.is_complete:
        source = open_source(request.paths, request.sources, request.shard)
        prompt_finder(request.prompts, source.has_prompts)
    scorer = load_scorer(request.models, request.prompts, out)
    if job.is_complete:
        return _complete(request, job, scorer, out)
    with job:
        if source is not None:
            out.note("listing what is to be scored")
        rows = _rows_of(request, job, scorer.settings) if job.redoes else None
        job.begin(scorer.settings, request.facts(), source, request.columns)
        facts = job.journal.run
        tell_listing(facts, out)
        if rows is not None:
            job.seed(rows)
        finder = prompt_finder(request.prompts, facts["has_prompts"])
        index = ScoreCache(job.journal.folder / "index.sqlite")
        engine = scorer.engine(finder, index)
        _, done, failed = job.journal.counts()
        if done + failed:
            out.note(f"{done + failed} of {facts['total']} were done before")
        tally = Tally(ok=done, failed=facts["total"] - done - job.left)
        with interruptible(engine, out):
            for _ in shown(job.run(engine.run), facts["total"], tally, engine, out):
                pass
        index.close()
        if engine.stop.is_set() and (job.journal.counts()[0] or job.retries):
            tally.print_summary(out)
            out.note("interrupted; what was scored is kept, --resume goes on")
            return INTERRUPTED
        job.finish(scorer.settings, request.columns)
    tally.print_summary(out)
    return exit_code(tally.ok, tally.failed)


def check_not_a_source(request: Request, output: Path) -> None:
    """Raise UsageError where the output is one of the paths to score."""
    from librehps.errors import UsageError

    if output.absolute() in {Path(path).absolute() for path in request.paths}:
        raise UsageError(f"{output} is what is to be scored: give the output another name")


def tell_listing(facts: Mapping[str, Any], out: Output) -> None:
    """What of the source is not scored, or not kept."""
    if not facts["total"]:
        out.note(EMPTY_SHARD)
    if facts["skipped"]:
        out.note(f"{facts['skipped']} files of other kinds were skipped")
    if facts["dropped"]:
        out.note(f"columns of bytes are left out: {', '.join(facts['dropped'])}")


def _complete(request: Request, job: "Job", scorer: "LibreHPS", out: Output) -> int:
    """The exit code of an output that is there, once it is sure that it is this run's."""
    check_origin(request, job.output, job.output, scorer.settings)
    table = _table_of(job.output, ("status",))
    status = table.column("status").to_pylist()
    ok, failed = status.count("ok"), status.count("error")
    out.note(f"{job.output} is complete: {ok} scored, {failed} errors")
    return exit_code(ok, failed)


def check_origin(request: Request, file: Path, output: Path, settings: "Settings") -> None:
    """Raise UsageError where a file of the output came of other settings or another request."""
    from librehps.runs.job import check_same
    from librehps.scores.read import read_origin

    before, asked = read_origin(file)
    check_same(before, settings.record(), "settings", output)
    if asked:
        check_same(asked, request.facts(), "request", output)


def _table_of(output: Path, needed: tuple[str, ...]) -> Any:
    from librehps.errors import UsageError
    from librehps.scores.read import read_table

    table, _ = read_table([output])
    lacking = [name for name in needed if name not in table.column_names]
    # JSON Lines of no row have no columns to tell.
    if lacking and len(table):
        raise UsageError(f"{output} lacks the columns {', '.join(lacking)}")
    return table


def _rows_of(request: Request, job: "Job", settings: "Settings") -> Iterable[Record]:
    """Rows of a finished output; raises UsageError where they cannot stand for this run's."""
    from librehps.scores.columns import chosen_columns

    check_origin(request, job.output, job.output, settings)
    names = request.columns
    wanted = chosen_columns(names, {}, settings.axes) if isinstance(names, str) else names
    table = _table_of(job.output, ("id", "status", *wanted))
    return (row for batch in table.to_batches(max_chunksize=1024) for row in batch.to_pylist())


def _print_ranking(records: list[Record], calibrator: "Platt | None", out: Output) -> None:
    """Best first; under one prompt and with a calibrator, how surely each beats the next."""
    scored = [record for record in records if record["status"] == "ok"]
    ranked = sorted(scored, key=lambda record: -record["overall_mu"])
    one_prompt = len({record["prompt"] for record in ranked}) == 1
    axes = axes_in(ranked)
    columns = ["", "item", *axes]
    rows = [[str(at), r["id"], *figures(r, axes)] for at, r in enumerate(ranked, 1)]
    if calibrator is not None and one_prompt:
        columns.append("beats\nnext")
        for row, better, worse in zip(rows, ranked, ranked[1:], strict=False):
            gap = better["overall_mu"] - worse["overall_mu"]
            row.append(percent(calibrator.probability(gap)))
    if ranked:
        out.table(columns, rows)
    for record in records:
        if record["status"] == "error":
            out.error(f"{record['id']}: {record['error']} ({record['error_type']})")
