"""Score what a generator writes into folders, as it writes, into one output."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from librehps.choices import PromptFrom
from librehps.errors import UsageError
from librehps.items.changes import POLL_MS, FolderChanges, Relevance, identities, must_poll
from librehps.items.settling import Settling
from librehps.items.watched import FolderGoneError, WholeFiles, lacks_prompt, watched_folders
from librehps.runs.imports import collector_paused
from librehps.runs.job import local_output
from librehps.runs.observer import RunObserver
from librehps.runs.options import RunKeywords, source_options
from librehps.runs.request import RunRequest, as_paths
from librehps.runs.run import model_options, updating
from librehps.runs.summary import RunSummary
from librehps.runs.watch import Watch
from librehps.settings import DEFAULT_MODEL
from librehps.storage.outputs import as_output

if TYPE_CHECKING:
    from librehps.runs.run import Model, Paths


@dataclass(frozen=True)
class WatchRequest(RunRequest):
    """A request for the items of watched folders whose files are whole."""

    settling: Settling = field(default_factory=Settling, compare=False, repr=False)
    roots: Sequence[str] = ()

    def open_source(self) -> Any:
        """Return the source of items, before any path is read."""
        try:
            return WholeFiles(super().open_source(), self.settling, self.roots)
        except UsageError as error:
            if identities(self.roots) is None:
                raise FolderGoneError("a watched folder was removed") from error
            raise


def watch_to(
    paths: "Paths",
    output: str | Path,
    *,
    prompt: str | None = None,
    prompt_from: PromptFrom | None = None,
    keep_markup: bool = False,
    strip_weights: bool = False,
    model: "Model" = DEFAULT_MODEL,
    prune: bool = False,
    columns: Sequence[str] | str = "default",
    shard: str | None = None,
    observer: RunObserver | None = None,
    stop: threading.Event | None = None,
    cache: str | Path | None = None,
    **source: Unpack[RunKeywords],
) -> RunSummary:
    """Keep a Parquet or JSON Lines file up to date with folders until `stop` is set.

    paths: local folders and glob patterns. The output is brought up to date as by `update=True` of
    `score_to`, whenever files have come, changed or vanished and nobody writes to them any more.
    After each pass it is a complete file, and the observer's `updated` receives the summary. Other
    arguments as in `score_to`. Raises UsageError for other paths, no prompt, or changed settings.
    Returns the summary of the last pass; `remaining` items are left where `stop` cut it short.
    """
    options, output = model_options(model, source), local_output(as_output(output))
    observer, stop = observer or RunObserver(), stop or threading.Event()
    given = as_paths(paths)
    roots = watched_folders(given)
    has_sidecars = prompt is None and prompt_from in ("sidecar", "auto")
    settling = Settling(lacks_prompt) if prompt_from == "sidecar" else Settling()
    request = WatchRequest(
        given,
        replace(source_options(source, shard), watched=True),
        prompt,
        prompt_from,
        options.max_prompt_tokens,
        keep_markup,
        strip_weights,
        settling=settling,
        roots=roots,
    )
    request.check_output(output)
    request.prompt_finder(has_prompts=False)
    updating(output, request, prune)
    reason = must_poll(roots)
    if reason:
        observer.note(f"{reason}: searching the folders for changes every {POLL_MS / 1000:g} s")
    relevant = Relevance(roots, [str(Path.cwd() / output)], has_sidecars)
    changes = FolderChanges(roots, relevant, stop, observer.note, bool(reason))
    with collector_paused():
        from librehps.runs.local import LocalRun, load_model

    scorer = load_model(options, observer)

    def one_pass(observer: RunObserver, stop: threading.Event) -> RunSummary:
        job = updating(output, request, prune, writes_partly=True)
        return LocalRun(request, job, columns, observer, stop, scorer, cache).run()

    def look() -> None:
        for _ in request.open_source().item_columns():
            pass

    observer.note(f"watching {', '.join(given)}; Ctrl-C ends with a finished {output}")
    watch = Watch(one_pass, settling, observer, stop)
    summary = watch.run(iter(changes), look)
    if watch.is_behind:
        observer.note("some files changed after the last pass: take them with --update")
    return summary or RunSummary(output, 0, 0, 0, {}, interrupted=True)
