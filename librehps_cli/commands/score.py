"""librehps score: the scores of every item as a table, JSON Lines or Parquet."""

import json as jsonlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from librehps.files import counted
from librehps_cli.ui.errors import INTERRUPTED, exit_code, print_unread
from librehps_cli.ui.help import INPUT, OUTPUT, examples
from librehps_cli.ui.load import check_calibration, model_options, prompt_keywords, source_keywords
from librehps_cli.ui.options import (
    Json,
    Overwrite,
    Paths,
    PromptOptions,
    Quiet,
    RayOptions,
    SourceFlags,
    grouped,
)
from librehps_cli.ui.output import Output
from librehps_cli.ui.progress import CommandObserver, print_counts, stopping
from librehps_cli.ui.ranking_table import print_ranking
from librehps_cli.ui.scoring_options import ScoringOptions

if TYPE_CHECKING:
    from librehps import RunSummary
    from librehps.runs.run import RowStream

Record = dict[str, Any]


@examples(
    "librehps score examples/media -m tiny --prompt-from sidecar",
    'librehps score examples/media -m tiny -p "a red circle" -o red.jsonl',
)
@grouped
def score(
    paths: Paths,
    sources: SourceFlags,
    prompts: PromptOptions,
    models: ScoringOptions,
    ray: RayOptions,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Write to a .parquet or .jsonl file, or to - (stdout); with Ray, to a folder; "
            "in a bucket, to either.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    columns: Annotated[
        str,
        typer.Option(
            metavar="COLUMNS",
            help="default, full (adds sigmas, scalar, prompt_tokens, sha256), or names: "
            "id,overall.",
            rich_help_panel=OUTPUT,
        ),
    ] = "default",
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue an unfinished run.", rich_help_panel=OUTPUT)
    ] = False,
    retry_errors: Annotated[
        bool,
        typer.Option(
            "--retry-errors",
            help="Resume, and retry the items with errors.",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
    update: Annotated[
        bool,
        typer.Option(
            "--update",
            help="Score what is new or changed, and keep the other scores.",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
    prune: Annotated[
        bool,
        typer.Option(
            "--prune",
            help="With --update or --watch, drop the rows of items that have vanished.",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
    watch: Annotated[
        bool,
        typer.Option(
            "--watch",
            help="Go on as files come, change and vanish in the folders, until Ctrl-C.",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
    overwrite: Overwrite = False,
    shard: Annotated[
        str | None,
        typer.Option(
            metavar="I/N",
            help="Score only shard I of N; every machine splits alike.",
            rich_help_panel=INPUT,
        ),
    ] = None,
    json: Json = None,
    quiet: Quiet = False,
) -> None:
    """Score images and videos against their prompts."""
    from librehps.errors import UsageError

    file = None if output == "-" else output
    out = Output(quiet, True if output is not None and file is None else json)
    if file is None and (resume or retry_errors or update or watch):
        flags = "--resume, --retry-errors, --update and --watch"
        raise UsageError(f"{flags} need an output file", hint="Add -o FILE.")
    _check_engine(ray, file)
    check_calibration(models)
    observer = CommandObserver(out, bool(json))
    request: dict[str, Any] = {
        **prompt_keywords(prompts),
        "model": model_options(models, prompts),
        "shard": shard,
        "observer": observer,
        "stop": observer.stop,
        **source_keywords(sources),
    }
    if file is None:
        raise typer.Exit(_to_stdout(paths, request, _columns(columns), models.calibration, out))
    if watch:
        _check_watch(
            ray, resume=resume, retry_errors=retry_errors, overwrite=overwrite, update=update
        )
        request |= {"prune": prune, "columns": _columns(columns)}
        raise typer.Exit(_watch(paths, file, request, observer, out))
    from librehps import score_to

    summary = score_to(
        paths,
        file,
        **request,
        resume=resume,
        retry_errors=retry_errors,
        overwrite=overwrite,
        update=update,
        prune=prune,
        columns=_columns(columns),
        engine=_engine(ray),
    )
    again, in_parts = "--update" if update else "--resume", ray.engine == "ray" or "://" in file
    code = _report(summary, in_parts, again, out)
    if json:
        out.line(jsonlib.dumps(summary.to_dict(), ensure_ascii=False))
    raise typer.Exit(code)


def _check_watch(ray: RayOptions, **ways: bool) -> None:
    from librehps.errors import UsageError

    given = [f"--{name.replace('_', '-')}" for name, is_given in ways.items() if is_given]
    if given:
        raise UsageError(
            f"--watch and {' or '.join(given)} cannot be used together",
            hint="Use --watch alone: it goes on with an output and with an interrupted update. To "
            "start over, remove the output first.",
        )
    if ray.engine == "ray":
        raise UsageError("--watch: unsupported with Ray", hint="Use --engine local.")


def _watch(
    paths: list[str], file: str, request: Record, observer: CommandObserver, out: Output
) -> int:
    """Keep the file up to date until a signal; return the exit code."""
    from librehps.runs.watch_to import watch_to

    with stopping(observer.stop, out):
        summary = watch_to(paths, file, **request)
    if summary.interrupted and not summary.total:
        out.note(f"stopped before {file} was written")
        return INTERRUPTED
    out.note(f"{file}: {summary.ok} scored, {counted(summary.failed, 'error')}")
    if summary.remaining:
        out.note(f"{counted(summary.remaining, 'item')} left; go on with --watch or --update")
    unread = print_unread(summary.passed_over, out)
    return exit_code(summary.ok, summary.failed + unread)


def _check_engine(ray: RayOptions, file: str | None) -> None:
    from librehps.errors import UsageError

    if ray.engine == "ray" and file is None:
        raise UsageError("--engine ray needs an output folder", hint="Add -o FOLDER.")
    if ray.engine == "local" and ray.has_cluster_flags:
        raise UsageError("--num-gpus, --concurrency and --ray-address need --engine ray")


def _engine(ray: RayOptions) -> Any:
    from librehps.runs.options import RayOptions as Cluster

    if ray.engine == "local":
        return "local"
    return Cluster(ray.ray_address, ray.num_gpus, ray.concurrency)


def _columns(text: str) -> str | list[str]:
    """Return the name of a set of columns, or a list of columns."""
    from librehps.scores.columns import SETS

    return text if text in SETS else [name.strip() for name in text.split(",")]


def _report(summary: "RunSummary", in_parts: bool, again: str, out: Output) -> int:
    """Print the counts of a run; return the exit code. `again` is the flag that continues it."""
    if summary.was_complete:
        counts = f"{summary.ok} scored, {counted(summary.failed, 'error')}"
        hint = "; --retry-errors scores these again" if summary.failed else ""
        out.note(f"{summary.output} is complete: {counts}{hint}")
        return exit_code(summary.ok, summary.failed)
    print_counts(
        summary.ok, summary.failed, summary.errors, summary.distributions, out, summary.kept
    )
    if summary.interrupted:
        kept = "finished parts" if in_parts else "scored rows"
        out.note(f"interrupted: {kept} are kept; continue with {again}")
        return INTERRUPTED
    if summary.changes is not None:
        out.note(f"{summary.output}: {summary.changes.text()}")
    unread = print_unread(summary.passed_over, out)
    return exit_code(summary.ok, summary.failed + unread)


def _to_stdout(
    paths: list[str],
    request: dict[str, Any],
    columns: str | list[str],
    calibration: Path | None,
    out: Output,
) -> int:
    """Print rows as they are scored, or a ranking at the end; return the exit code."""
    from librehps.runs.run import score_rows
    from librehps.scores.columns import has_hashes

    is_ranked = not out.json
    rows = score_rows(paths, **request, hashes=has_hashes(columns) and not is_ranked)
    is_calibrated = is_ranked or calibration is not None
    calibrator = rows.scorer.calibrator(calibration) if is_calibrated else None
    if is_ranked:
        print_ranking([rows.record(row) for row in rows], calibrator, out)
    else:
        _print_rows(rows, columns, out)
    found = rows.progress
    print_counts(found.ok, found.failed, found.errors, found.distributions(), out)
    unread = print_unread(rows.passed_over, out)
    return INTERRUPTED if rows.is_interrupted else exit_code(found.ok, found.failed + unread)


def _print_rows(rows: "RowStream", columns: str | list[str], out: Output) -> None:
    for row in rows:
        out.records([rows.record(row, columns)])
