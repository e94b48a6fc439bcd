"""The stages on a Ray cluster: decoding in tasks, the model in actors, rows back to the driver.

Ray does a task again whose worker died, and starts an actor again; rows carry their index, so that
whoever gathers them (`runs.parts_job`) takes each once, in whatever order they come.
"""

import os
import platform
import threading
import traceback
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice
from pathlib import Path
from queue import Empty, Full, Queue
from typing import Any, Protocol

import torch

from librehps.choices import VideoBackend
from librehps.engine.decode import Decoder
from librehps.engine.device import Launcher
from librehps.engine.engine import FindPrompt, LocalEngine, Work, make_ready
from librehps.engine.outcome import error_row
from librehps.engine.score_cache import ScoreCache
from librehps.engine.window import Window
from librehps.errors import EngineError, LibreHPSError, UsageError, WorkerDiedError
from librehps.media.videos import VideoReaders
from librehps.models.base import ProcessorOptions
from librehps.models.families import open_checkpoint
from librehps.models.locate import locate
from librehps.runs.options import RayOptions
from librehps.runs.ray.arrow import (
    decoded_table,
    failure_of,
    failure_table,
    items_of,
    listed_table,
    raise_failure,
    ready_of,
    scored_schema,
    scored_table,
)
from librehps.runs.ray.cluster import ActorLayout, Head, failed
from librehps.settings import Settings, differing

# Items of a decode task, and of each table that the task yields.
MIN_TASK_ITEMS, MAX_TASK_ITEMS, TABLE_ITEMS = 8, 256, 32
# Items that an actor scores in one call: several batches, so that its device is kept busy.
GPU_CALL_ITEMS, CPU_CALL_ITEMS = 256, 64
POLL_S = 0.2
MAX_WAITING_TABLES = 8
# Attempts of a task whose process dies, and starts of an actor.
MAX_TASK_ATTEMPTS, MAX_ACTOR_STARTS = 4, 64
# Tasks that may be given up; if more fail, the cause is not their items.
MAX_FAILED_TASKS = 16
# Wait at the end for the thread that asks Ray for rows.
JOIN_TIMEOUT_S = 10.0

Entries = Iterable[tuple[int, str]]


@dataclass(frozen=True)
class Decoding:
    """What a worker makes its decoder from; `folder` is where relative paths begin."""

    folder: str
    model: str
    revision: str | None
    download: bool
    max_prompt_tokens: int
    video_backend: VideoBackend
    find_prompt: FindPrompt


class Scorer(Protocol):
    """A loaded model (`LibreHPS`)."""

    settings: Settings

    def engine(self) -> LocalEngine: ...


@dataclass(frozen=True)
class Scoring:
    """What an actor needs; `own` are kinds of the user's columns, `threads` of torch on a CPU.

    `batch_size` is what the user asked for, 0 where that is nothing.
    """

    load: Callable[[], Scorer]
    settings: Settings
    own: Mapping[str, str]
    threads: int | None = None
    batch_size: int = 0


@dataclass
class RayEngine:
    """Scores items on a cluster that is connected; `stop` ends the run at the next look."""

    cluster: RayOptions
    layout: ActorLayout
    decoding: Decoding
    scoring: Scoring
    work: Work = field(default_factory=Work)
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self, left: Callable[[], Entries], total: int) -> Generator[Any, None, None]:
        """Tables of `arrow.scored_schema`, in any order; raises EngineError.

        `left` gives what is still to come of `total` items. Those of tasks that were given up come
        again one by one; one whose processes still die has that for an error.
        """
        for alone in (False, True):
            entries = left()
            if alone and not (entries := list(entries)):
                return
            with closing(self._streamed(self._pipeline(entries, total, alone))) as tables:
                for table in tables:
                    raise_failure(table)
                    self.work.add(len(table), len(table), 0.0)
                    yield table
            if self.stop.is_set():
                return
        if lost := list(left()):
            yield self._given_up(lost)

    def _given_up(self, entries: list[tuple[int, str]]) -> Any:
        settings, own = self.scoring.settings, self.scoring.own
        died = WorkerDiedError(
            f"every process that took it up died, {2 * MAX_TASK_ATTEMPTS} of them"
        )
        rows = [(at, error_row(item, died)) for at, item in items_of(listed_table(entries))]
        return scored_table(rows, scored_schema(settings, own), settings)

    def _pipeline(self, entries: Entries, total: int, alone: bool) -> Any:
        import ray

        context = ray.data.DataContext.get_current()
        context.max_errored_blocks = -1 if alone else MAX_FAILED_TASKS
        # Deprecated before there is another way to bound how often a task is tried.
        warnings.filterwarnings("ignore", "`ray_remote_args_fn` is deprecated")
        size = 1 if alone else max(MIN_TASK_ITEMS, min(MAX_TASK_ITEMS, total // 64))
        source, tables = iter(entries), []
        while part := list(islice(source, size)):
            tables.append(listed_table(part))
        settings, layout, tasks = self.scoring.settings, self.layout, self.cluster.tasks
        together = max(
            GPU_CALL_ITEMS if layout.num_gpus else CPU_CALL_ITEMS, 2 * self.scoring.batch_size
        )
        decoded = ray.data.from_arrow(tables).map_batches(
            decode_items,
            fn_kwargs={"decoding": self.decoding, "settings": settings},
            compute=ray.data.TaskPoolStrategy(size=tasks),
            batch_size=None,
            batch_format="pyarrow",
            num_cpus=1,
            ray_remote_args_fn=lambda: {"max_retries": MAX_TASK_ATTEMPTS - 1},
        )
        return decoded.map_batches(
            ScoreActor,
            fn_constructor_kwargs={"scoring": self.scoring},
            compute=ray.data.ActorPoolStrategy(size=layout.actors),
            batch_size=1 if alone else together,
            batch_format="pyarrow",
            num_gpus=layout.num_gpus or None,
            num_cpus=layout.num_cpus,
            ray_remote_args_fn=lambda: {
                "max_restarts": MAX_ACTOR_STARTS,
                "max_task_retries": MAX_TASK_ATTEMPTS - 1,
            },
        )

    def _streamed(self, dataset: Any) -> Generator[Any, None, None]:
        """The dataset's tables, asked for in a thread, so that a stop need not wait for them."""
        ready: Queue[Any] = Queue(MAX_WAITING_TABLES)
        ended, head = threading.Event(), Head.of_cluster()
        feeder = threading.Thread(target=_feed, args=(dataset, ready, ended), daemon=True)
        feeder.start()
        try:
            while not self.stop.is_set():
                head.check()
                try:
                    table = ready.get(timeout=POLL_S)
                except Empty:
                    continue
                if table is None:
                    return
                if isinstance(table, Exception):
                    raise failed(table) from table
                yield table
        finally:
            # Before Ray is left, which the thread could not know.
            ended.set()
            feeder.join(JOIN_TIMEOUT_S)


def _feed(dataset: Any, ready: "Queue[Any]", ended: threading.Event) -> None:
    import ray

    # Whatever ends this thread, who waits for it must hear of it.
    last: Exception | None = EngineError("no more rows come")
    try:
        for table in dataset.iter_batches(batch_size=None, batch_format="pyarrow"):
            if not _put(ready, table, ended):
                return
        last = None
    except (ray.exceptions.RayError, RuntimeError, ValueError, OSError) as error:
        last = error
    finally:
        _put(ready, last, ended)


def _put(ready: "Queue[Any]", table: Any, ended: threading.Event) -> bool:
    """Return whether the table found a place before the end."""
    while not ended.is_set():
        try:
            ready.put(table, timeout=POLL_S)
        except Full:
            continue
        return True
    return False


def decode_items(table: Any, decoding: Decoding, settings: Settings) -> Iterator[Any]:
    """A decode task: tables of `arrow.DECODED`, one item's fault one row's."""
    try:
        decoder = _decoder(decoding, settings.num_frames)
        items = iter(items_of(table))
        while some := list(islice(items, TABLE_ITEMS)):
            ready = [(at, make_ready(item, decoding.find_prompt, decoder)) for at, item in some]
            yield decoded_table(ready)
    except Exception as error:  # noqa: BLE001 - told as a row, or Ray would pass it over
        yield decoded_table([], _fault(error))


class ScoreActor:
    """The model in an actor; a table of decoded items in, of scored rows out."""

    def __init__(self, scoring: Scoring) -> None:
        self._settings = scoring.settings
        self._schema = scored_schema(scoring.settings, scoring.own)
        self._failure: LibreHPSError | None = None
        if scoring.threads is not None:
            torch.set_num_threads(scoring.threads)
        try:
            scorer = scoring.load()
            _check_same(scoring.settings, scorer.settings)
        except LibreHPSError as error:
            # Told with the first rows: what a constructor raises, Ray would try again.
            self._failure = error
            return
        engine = scorer.engine()
        self._tokens, self._index = engine.tokens, ScoreCache()
        stop = threading.Event()
        self._launcher = Launcher(engine.model, engine.batch_size, stop)

    def __call__(self, table: Any) -> Any:
        try:
            if failure := self._failure or failure_of(table):
                return failure_table(failure, self._schema)
            return self._scored(table)
        except Exception as error:  # noqa: BLE001 - told as a row, or Ray would pass it over
            return failure_table(_fault(error), self._schema)

    def _scored(self, table: Any) -> Any:
        ready = ready_of(table)
        items = [one for _, one in ready]
        rows = Window(items, self._launcher, self._index, self._tokens, None).rows()
        indices = [index for index, _ in ready]
        return scored_table(list(zip(indices, rows, strict=True)), self._schema, self._settings)


def _fault(error: Exception) -> LibreHPSError:
    """What ends the run; of an error that nobody foresaw, also where it came from."""
    if isinstance(error, LibreHPSError):
        return error
    place = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{Path(place.filename).name}:{place.lineno} on {platform.node()}"
    return EngineError(f"{type(error).__name__}: {error} ({where})")


@lru_cache(maxsize=1)
def _decoder(decoding: Decoding, num_frames: int) -> Decoder:
    try:
        # A worker process is ours alone as long as the run lasts.
        os.chdir(decoding.folder)
    except OSError as error:
        raise UsageError(
            f"{platform.node()} has no folder {decoding.folder}: {error.strerror}; the folder "
            "that Ray is run from and the media must be on storage that every node has"
        ) from error
    torch.set_num_threads(1)
    located = locate(decoding.model, decoding.revision, decoding.download)
    checkpoint = open_checkpoint(located.folder, located.base)
    processor = checkpoint.processor(ProcessorOptions(decoding.max_prompt_tokens))
    readers = VideoReaders(decoding.video_backend)
    return Decoder(processor, readers, num_frames, checkpoint.kinds)


def _check_same(foreseen: Settings, found: Settings) -> None:
    before, now = foreseen.record(), found.record()
    differ = "; ".join(f"{k} {now.get(k)!r}, not {before.get(k)!r}" for k in differing(before, now))
    if differ:
        raise EngineError(
            f"the actor on {platform.node()} has other settings: {differ}",
            hint="Name them: --device, --dtype, --attn; the model must be the same everywhere.",
        )
