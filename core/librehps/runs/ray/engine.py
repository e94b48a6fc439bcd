"""The stages on a Ray cluster: tasks decode, actors score, and the driver receives the rows.

Ray retries a task whose worker died, and restarts actors. Each row has its index, so that
`runs.parts_job` takes each row once, in any order.
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
from librehps.media.options import MediaOptions
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

# Number of items in a decode task, and in each table that the task yields.
MIN_TASK_ITEMS, MAX_TASK_ITEMS, TABLE_ITEMS = 8, 256, 32
# Number of items that an actor scores in one call: several batches keep its device busy.
GPU_CALL_ITEMS, CPU_CALL_ITEMS = 256, 64
POLL_S = 0.2
MAX_WAITING_TABLES = 8
# Number of attempts of a task whose process dies, and of starts of an actor.
MAX_TASK_ATTEMPTS, MAX_ACTOR_STARTS = 4, 64
# If more tasks than this fail, the cause is not their items, and the run stops.
MAX_FAILED_TASKS = 16
# Time to wait at the end for the thread that reads rows from Ray.
JOIN_TIMEOUT_S = 10.0

Entries = Iterable[tuple[int, str]]


@dataclass(frozen=True)
class Decoding:
    """The options of a worker's decoder; `folder` is the base of relative paths."""

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
    """The options of an actor: `own` are the kinds of the user's columns, `threads` is for torch.

    `batch_size` is the user's batch size, 0 if not given.
    """

    load: Callable[[], Scorer]
    settings: Settings
    own: Mapping[str, str]
    threads: int | None = None
    batch_size: int = 0


@dataclass
class RayEngine:
    """An engine that scores items on the connected cluster; setting `stop` ends the run soon."""

    cluster: RayOptions
    layout: ActorLayout
    decoding: Decoding
    scoring: Scoring
    work: Work = field(default_factory=Work)
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self, left: Callable[[], Entries], total: int) -> Generator[Any, None, None]:
        """Yield tables in `arrow.scored_schema`, in any order; raises EngineError.

        `left` lists the items without a row, of `total` items. Items of failed tasks are retried
        one by one; an item whose processes die again gets a WorkerDiedError.
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
        died = WorkerDiedError(f"all {2 * MAX_TASK_ATTEMPTS} processes that tried this item died")
        rows = [(at, error_row(item, died)) for at, item in items_of(listed_table(entries))]
        return scored_table(rows, scored_schema(settings, own), settings)

    def _pipeline(self, entries: Entries, total: int, alone: bool) -> Any:
        import ray

        context = ray.data.DataContext.get_current()
        context.max_errored_blocks = -1 if alone else MAX_FAILED_TASKS
        # Deprecated by Ray without another way to limit the attempts of a task.
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
        """Yield the dataset's tables; a thread reads them, so that a stop does not wait."""
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
            # The thread must end before Ray disconnects.
            ended.set()
            feeder.join(JOIN_TIMEOUT_S)


def _feed(dataset: Any, ready: "Queue[Any]", ended: threading.Event) -> None:
    import ray

    # The reader must get an error, however this thread ends.
    last: Exception | None = EngineError("the thread that reads rows from Ray stopped")
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
    """Return whether the table was put in the queue before `ended` was set."""
    while not ended.is_set():
        try:
            ready.put(table, timeout=POLL_S)
        except Full:
            continue
        return True
    return False


def decode_items(table: Any, decoding: Decoding, settings: Settings) -> Iterator[Any]:
    """Yield the items of a decode task as tables in `arrow.DECODED`; a bad item fails one row."""
    try:
        decoder = _decoder(decoding, settings)
        items = iter(items_of(table))
        while part := list(islice(items, TABLE_ITEMS)):
            ready = [(at, make_ready(item, decoding.find_prompt, decoder)) for at, item in part]
            yield decoded_table(ready)
    except Exception as error:  # noqa: BLE001 - sent as a row: Ray would drop the error
        yield decoded_table([], _fault(error))


class ScoreActor:
    """An actor with the model; a call turns a table of decoded items into scored rows."""

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
            # Sent with the first rows: Ray would retry a constructor that raises.
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
        except Exception as error:  # noqa: BLE001 - sent as a row: Ray would drop the error
            return failure_table(_fault(error), self._schema)

    def _scored(self, table: Any) -> Any:
        ready = ready_of(table)
        items = [one for _, one in ready]
        rows = Window(items, self._launcher, self._index, self._tokens, None).rows()
        indices = [index for index, _ in ready]
        return scored_table(list(zip(indices, rows, strict=True)), self._schema, self._settings)


def _fault(error: Exception) -> LibreHPSError:
    """Return the error that ends the run; an unexpected error gets its file, line and machine."""
    if isinstance(error, LibreHPSError):
        return error
    place = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{Path(place.filename).name}:{place.lineno} on {platform.node()}"
    return EngineError(f"{type(error).__name__}: {error} ({where})")


@lru_cache(maxsize=1)
def _decoder(decoding: Decoding, settings: Settings) -> Decoder:
    try:
        # This run does not share its worker processes.
        os.chdir(decoding.folder)
    except OSError as error:
        raise UsageError(
            f"{platform.node()}: cannot open folder {decoding.folder}: {error.strerror}",
            hint="Start the run, and keep the media, in a folder that every node can read.",
        ) from error
    torch.set_num_threads(1)
    located = locate(decoding.model, decoding.revision, decoding.download)
    checkpoint = open_checkpoint(located.folder, located.base)
    processor = checkpoint.processor(ProcessorOptions(decoding.max_prompt_tokens))
    readers = VideoReaders(decoding.video_backend)
    media = MediaOptions.from_settings(settings)
    return Decoder(processor, readers, settings.num_frames, checkpoint.kinds, media)


def _check_same(foreseen: Settings, found: Settings) -> None:
    before, now = foreseen.record(), found.record()
    differ = "; ".join(f"{k} {now.get(k)!r}, not {before.get(k)!r}" for k in differing(before, now))
    if differ:
        raise EngineError(
            f"the actor on {platform.node()} has different settings: {differ}",
            hint="Set --device, --dtype and --attn, and use the same model on every node.",
        )
