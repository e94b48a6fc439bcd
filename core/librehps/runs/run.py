"""Score paths into a file, with a journal for resuming, or row by row."""

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from librehps.choices import Engine, PromptFrom, check_choice
from librehps.errors import UsageError
from librehps.extras import require
from librehps.media.remarks import notes_of
from librehps.runs.imports import collector_paused
from librehps.runs.job import Job, local_output
from librehps.runs.observer import RunObserver
from librehps.runs.options import (
    ModelOptions,
    RayOptions,
    RunKeywords,
    check_update,
    media_keywords,
    source_options,
)
from librehps.runs.progress import RunProgress
from librehps.runs.request import RunRequest, as_paths
from librehps.runs.summary import RunSummary
from librehps.scores.columns import chosen_columns
from librehps.scores.markers import SCORED_SUFFIXES
from librehps.scores.row import to_full_record
from librehps.settings import DEFAULT_MODEL
from librehps.storage.outputs import as_output

if TYPE_CHECKING:
    from librehps.engine.engine import LocalEngine
    from librehps.items.passed_over import PassedOver
    from librehps.items.prompts import PromptFinder
    from librehps.items.source import Source
    from librehps.scorer import LibreHPS
    from librehps.storage.url_path import AnyPath
    from librehps.types import ScoredRow

    Paths = str | Path | Iterable[str | Path]
    Model = str | Path | ModelOptions | LibreHPS

# Formats that a user may expect; other names are those of folders.
OTHER_SUFFIXES = (".csv", ".tsv", ".json", ".gz", ".zst", ".arrow", ".feather", ".xlsx")
HINT_RAY_MODEL = "Pass a name, a folder, or ModelOptions: each actor loads its own model."


def score_to(
    paths: "Paths",
    output: str | Path,
    *,
    prompt: str | None = None,
    prompt_from: PromptFrom | None = None,
    keep_markup: bool = False,
    strip_weights: bool = False,
    model: "Model" = DEFAULT_MODEL,
    resume: bool = False,
    retry_errors: bool = False,
    overwrite: bool = False,
    update: bool = False,
    prune: bool = False,
    columns: Sequence[str] | str = "default",
    shard: str | None = None,
    engine: Engine | RayOptions = "local",
    observer: RunObserver | None = None,
    stop: threading.Event | None = None,
    cache: str | Path | None = None,
    **source: Unpack[RunKeywords],
) -> RunSummary:
    """Score every item of the paths into Parquet or JSON Lines; return a summary.

    paths: files, folders, manifests, tars, URLs. output: X.parquet or X.jsonl, with Ray a folder;
    in a bucket (`s3://bucket/x`) either. model: a name, a folder, `ModelOptions`, or a loaded
    `LibreHPS`. columns: default, full, or names. keep_markup: leave tags such as `<lora:name:0.8>`
    in prompts. strip_weights: remove weights such as `(red:1.3)`. background, color_management,
    animated, sample: see `MediaOptions`; a loaded model has its own. shard: `3/8` scores the third
    of 8 hash partitions. cache: a folder that keeps scores for other runs, or `none` (None: the
    model's, else LIBREHPS_CACHE).

    Each row is saved in OUT.journal when it is scored: after an interruption, or once `stop` is
    set, `resume=True` continues the run. `retry_errors` resumes, and scores failed rows again.
    `update` lists the paths again, keeps the rows of known content, and scores the others; `prune`
    drops the rows of items that have vanished, which are else kept at the end. An item that cannot
    be scored becomes a row with status error, never an exception. Raises UsageError for an existing
    output without `resume`, `update` or `overwrite`, a missing path, no prompt, or changed settings
    on resume or update.
    """
    options = model_options(model, source)
    prompts = {"keep_markup": keep_markup, "strip_weights": strip_weights}
    request = _request(paths, source, shard, options, prompt, prompt_from, **prompts)
    if not isinstance(engine, RayOptions):
        check_choice(engine, Engine, "engine")
    place, observer, stop = as_output(output), observer or RunObserver(), stop or threading.Event()
    ways = {"resume": resume, "retry_errors": retry_errors, "overwrite": overwrite}
    check_update(update, prune, is_local=engine == "local", **ways)
    if engine == "local":
        with collector_paused():
            from librehps.runs.local import LocalRun
            from librehps.runs.local_parts import LocalPartsRun

            job = updating(place, request, prune) if update else _job(place, ways)
        kind = LocalRun if isinstance(place, Path) else LocalPartsRun
        return kind(request, job, columns, observer, stop, options, cache).run()
    if not isinstance(options, ModelOptions):
        raise UsageError("a loaded model cannot be sent to Ray", hint=HINT_RAY_MODEL)
    require("ray", "--engine ray")
    from librehps.runs.parts_job import PartsJob

    parts = PartsJob(place, **ways)
    from librehps.runs.ray.run import RayRun

    cluster = engine if isinstance(engine, RayOptions) else RayOptions()
    if cluster.tasks is None:
        cluster = replace(cluster, tasks=options.workers)
    return RayRun(request, parts, columns, observer, stop, options, cluster, cache).run()


def updating(
    output: "AnyPath", request: RunRequest, prune: bool, *, writes_partly: bool = False
) -> Job:
    """Return the job of an update; `writes_partly`: also the rows of an interrupted run."""
    # Imported here: other runs need none of it.
    from librehps.runs.update_job import UpdateJob

    return UpdateJob(local_output(output), request, prune=prune, writes_partly=writes_partly)


def _job(output: "AnyPath", ways: Mapping[str, bool]) -> Job:
    """Return the job of a local run, for a local file, or a file or a folder in a bucket."""
    if isinstance(output, Path):
        return Job(output, **ways)
    from librehps.runs.parts_job import PartsJob
    from librehps.runs.url_file_job import UrlFileJob

    suffix = output.suffix.lower()
    if suffix in OTHER_SUFFIXES:
        raise UsageError(
            f"{output}: unsupported output format {suffix!r}: use .parquet, .jsonl, or a folder"
        )
    is_file = suffix in SCORED_SUFFIXES
    return (UrlFileJob if is_file else PartsJob)(output, **ways)


def score_rows(
    paths: "Paths",
    *,
    prompt: str | None = None,
    prompt_from: PromptFrom | None = None,
    keep_markup: bool = False,
    strip_weights: bool = False,
    model: "Model" = DEFAULT_MODEL,
    shard: str | None = None,
    observer: RunObserver | None = None,
    stop: threading.Event | None = None,
    cache: str | Path | None = None,
    hashes: bool = False,
    **source: Unpack[RunKeywords],
) -> "RowStream":
    """Return an iterator over the scored rows of the paths, in input order; writes no file.

    Arguments as in `score_to`; hashes: the rows have perceptual hashes. Raises UsageError for a
    missing path, or no prompt.
    """
    options, observer = model_options(model, source), observer or RunObserver()
    prompts = {"keep_markup": keep_markup, "strip_weights": strip_weights}
    request = _request(paths, source, shard, options, prompt, prompt_from, **prompts)
    opened = request.open_source()
    finder = request.prompt_finder(opened.has_prompts)
    with collector_paused():
        from librehps.runs.local import load_model

    scorer = load_model(options, observer)
    engine = scorer.engine(finder, cache=cache, hashes=hashes)
    engine.stop = stop or engine.stop
    engine.would_wait = opened.would_wait
    return RowStream(scorer, opened, engine, finder, observer)


def _request(
    paths: "Paths",
    source: RunKeywords,
    shard: str | None,
    options: "ModelOptions | LibreHPS",
    prompt: str | None,
    prompt_from: PromptFrom | None,
    **markup: bool,
) -> RunRequest:
    tokens = options.max_prompt_tokens
    return RunRequest(
        as_paths(paths), source_options(source, shard), prompt, prompt_from, tokens, **markup
    )


@dataclass
class RowStream:
    """An iterator over scored rows, for one use; `progress` counts the rows."""

    scorer: "LibreHPS"
    source: "Source"
    engine: "LocalEngine" = field(repr=False)
    finder: "PromptFinder" = field(repr=False)
    observer: RunObserver = field(repr=False)

    def __post_init__(self) -> None:
        self.progress = RunProgress(None, self.engine.work)

    @property
    def is_interrupted(self) -> bool:
        """True if `stop` was set, in which case rows may be missing."""
        return self.engine.stop.is_set()

    @property
    def passed_over(self) -> "PassedOver":
        """The files and folders that were skipped so far."""
        return self.source.passed_over

    def __iter__(self) -> "Iterator[ScoredRow]":
        from librehps.runs.lifecycle import EMPTY_SHARD, note_columns

        with self.observer.watching(self.progress):
            for row in self.engine.run(self.source.items()):
                self.progress.add(row)
                self.observer.advanced(self.progress)
                yield row
        for note in self.passed_over.notes():
            self.observer.note(note)
        note_columns(self.source.facts(), self.observer)
        for note in notes_of(self.progress.remarks, self.scorer.settings):
            self.observer.note(note)
        if not (self.progress.done or self.is_interrupted):
            self.observer.note(EMPTY_SHARD)

    def record(self, row: "ScoredRow", columns: Sequence[str] | str = "full") -> dict[str, Any]:
        """Return a row as a flat dict by column; raises UsageError for an unknown column."""
        own = row.item.extra
        record = {**to_full_record(row, self.scorer.settings), **own}
        names = chosen_columns(columns, dict.fromkeys(own, ""), self.scorer.axes)
        return {name: record[name] for name in names}


def model_options(model: "Model", keywords: RunKeywords) -> "ModelOptions | LibreHPS":
    """Return the model of a run; raises UsageError for media options beside a loaded model."""
    media = media_keywords(keywords)
    if isinstance(model, str | Path):
        return ModelOptions(model, **media)
    if isinstance(model, ModelOptions):
        return replace(model, **media)
    if media:
        names = ", ".join(media)
        raise UsageError(
            f"{names}: unsupported here, a loaded model has its own",
            hint=f"Pass {names} to LibreHPS.from_pretrained.",
        )
    return model
