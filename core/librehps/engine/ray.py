"""The stages on a Ray cluster: decoding in tasks, the model in actors, rows back to the driver.

Ray does a task again whose worker died, and starts an actor again; rows carry their index, so that
whoever gathers them (`engine.parts_job`) takes each once, in whatever order they come.
"""

import logging
import os
import platform
import sys
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice
from pathlib import Path
from queue import Empty, Full, Queue
from typing import Any, Protocol

import torch

from librehps.engine.index import ScoreIndex
from librehps.engine.launch import Launcher
from librehps.engine.local import FindPrompt, LocalEngine, Work, default_workers, make_ready
from librehps.engine.window import Window
from librehps.engine.wire import (
    decoded_table,
    failure_table,
    items_of,
    listed_table,
    raise_failure,
    ready_of,
    scored_schema,
    scored_table,
)
from librehps.errors import EngineError, LibreHPSError, UsageError
from librehps.media.prompt import PromptEncoder
from librehps.media.video import Backend, VideoReaders
from librehps.model.locate import locate
from librehps.pipeline.decode import Decoder
from librehps.settings import Settings

# Items that a decode task is given, and that it gives on together.
MOST, FEWEST, TOGETHER = 256, 8, 32
# Items that an actor scores in one call: several batches, so that its device is kept busy.
ON_GPU, ON_CPU = 256, 64
# Cores that one actor can keep busy with a model on the CPU.
CORES = 8
# Seconds between two looks at whether to stop.
LOOK = 0.2
# Tables that wait for whoever writes.
AHEAD = 8
# Nodes come and go; but what ends every process that takes it up must end the run, not hold it.
TRIES = 16


@dataclass(frozen=True)
class Cluster:
    """Where the stages run: `address` None starts Ray here, else one is joined.

    `num_gpus` an actor (None: 1 where there are any), `actors` (None: one for each GPU, else by
    cores), `tasks` that decode at a time (None: as many as there is room for).
    """

    address: str | None = None
    num_gpus: float | None = None
    actors: int | None = None
    tasks: int | None = None


@dataclass(frozen=True)
class Decoding:
    """What a worker makes its decoder from; `folder` is where relative paths begin."""

    folder: str
    model: str
    revision: str | None
    download: bool
    max_prompt_tokens: int
    video_backend: Backend
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


@dataclass(frozen=True)
class Places:
    """How the model is spread: actors, and what each of them is given."""

    actors: int
    num_gpus: float
    num_cpus: float
    threads: int | None


@contextmanager
def connected(cluster: Cluster) -> Iterator[None]:
    """Ray, started or joined, and silent; left at the end. Raises EngineError."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_DATA_LOG_LEVEL", "CRITICAL")
    # Of the parts in C++, which write to stderr whatever Python is told.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    import ray

    _join(cluster.address)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = context.print_on_execution_start = False
    # Ray tells stdout of each process that died, some of it only at the end; stdout is for data.
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):
        try:
            yield
        finally:
            ray.shutdown()


def _join(address: str | None) -> None:
    import ray

    options: dict[str, Any] = {"include_dashboard": False} if address is None else {}
    quiet = {"log_to_driver": False, "logging_level": logging.CRITICAL}
    try:
        with _unheard():
            ray.init(address=address or "local", **quiet, **options)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        where = "started here" if address is None else f"joined at {address}"
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise EngineError(
            f"Ray cannot be {where}: {reason}", hint="See `ray status`, and --ray-address."
        ) from error


@contextmanager
def _unheard() -> Iterator[None]:
    """Nothing reaches stderr within: Ray's C++ parts say there how much they will say."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def places_of(cluster: Cluster, device: str) -> Places:
    """What the cluster has room for; raises UsageError where it lacks what was asked."""
    import ray

    have = ray.cluster_resources()
    gpus, cpus = have.get("GPU", 0.0), have.get("CPU", 0.0)
    each = cluster.num_gpus
    if each is None:
        each = 1.0 if gpus and device != "cpu" else 0.0
    if each:
        actors = cluster.actors or int(gpus // each)
        if actors * each > gpus or not actors:
            raise UsageError(
                f"{max(1, actors)} x {each:g} GPUs were asked, the cluster has {gpus:g}"
            )
        return Places(actors, each, 0.0, None)
    nodes = sum(1 for node in ray.nodes() if node["Alive"])
    actors = cluster.actors or max(nodes, int(cpus // CORES))
    # Cores are shared with decoding, which needs some or nothing would ever be scored.
    share = min(1.0, max(0.0, cpus - 1) / actors)
    threads = max(1, int(cpus // actors))
    return Places(actors, 0.0, int(share * 100) / 100, min(threads, default_workers()))


def foresee(settings: Callable[[], Settings], places: Places) -> Settings:
    """The settings, as they are where the model will run; raises what `settings` raises."""
    import ray

    ask = ray.remote(num_gpus=places.num_gpus, num_cpus=0, max_retries=3)(_answer)
    try:
        answer = ray.get(ask.remote(settings))
    except ray.exceptions.RayError as error:
        raise _failed(error) from error
    if isinstance(answer, Settings):
        return answer
    raise answer


def _answer(settings: Callable[[], Settings]) -> Settings | LibreHPSError:
    # As a value, since Ray would wrap what is raised.
    try:
        return settings()
    except LibreHPSError as error:
        return error


@dataclass
class RayEngine:
    """Scores items on a cluster that is connected; `stop` ends the run at the next look."""

    cluster: Cluster
    places: Places
    decoding: Decoding
    scoring: Scoring
    work: Work = field(default_factory=Work)
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self, entries: Iterable[tuple[int, str]], total: int) -> Iterator[Any]:
        """Tables of `wire.scored_schema`, in any order; raises EngineError."""
        for table in self._streamed(self._pipeline(entries, total)):
            raise_failure(table)
            self.work.add(len(table), len(table), 0.0)
            yield table

    def _pipeline(self, entries: Iterable[tuple[int, str]], total: int) -> Any:
        import ray

        size = max(FEWEST, min(MOST, total // 64))
        # Deprecated before there is another way to bound how often a task is tried.
        warnings.filterwarnings("ignore", "`ray_remote_args_fn` is deprecated")
        source, tables = iter(entries), []
        while part := list(islice(source, size)):
            tables.append(listed_table(part))
        settings, places, tasks = self.scoring.settings, self.places, self.cluster.tasks
        decoded = ray.data.from_arrow(tables).map_batches(
            decode_items,
            fn_kwargs={"decoding": self.decoding, "settings": settings},
            compute=ray.data.TaskPoolStrategy(size=tasks),
            batch_size=None,
            batch_format="pyarrow",
            num_cpus=1,
            ray_remote_args_fn=lambda: {"max_retries": TRIES},
        )
        return decoded.map_batches(
            ScoreActor,
            fn_constructor_kwargs={"scoring": self.scoring},
            compute=ray.data.ActorPoolStrategy(size=places.actors),
            batch_size=max(ON_GPU if places.num_gpus else ON_CPU, 2 * self.scoring.batch_size),
            batch_format="pyarrow",
            num_gpus=places.num_gpus or None,
            num_cpus=places.num_cpus,
            ray_remote_args_fn=lambda: {"max_restarts": TRIES, "max_task_retries": TRIES},
        )

    def _streamed(self, dataset: Any) -> Iterator[Any]:
        """The dataset's tables, asked for in a thread, so that a stop need not wait for them."""
        ready: Queue[Any] = Queue(AHEAD)
        feeder = threading.Thread(target=self._feed, args=(dataset, ready), daemon=True)
        feeder.start()
        while not self.stop.is_set():
            try:
                table = ready.get(timeout=LOOK)
            except Empty:
                continue
            if table is None:
                return
            if isinstance(table, Exception):
                raise _failed(table) from table
            yield table

    def _feed(self, dataset: Any, ready: "Queue[Any]") -> None:
        import ray

        # Whatever ends this thread, who waits for it must hear of it.
        last: Exception | None = EngineError("no more rows come")
        try:
            for table in dataset.iter_batches(batch_size=None, batch_format="pyarrow"):
                if not self._put(ready, table):
                    return
            last = None
        except (ray.exceptions.RayError, RuntimeError, ValueError, OSError) as error:
            last = error
        finally:
            self._put(ready, last)

    def _put(self, ready: "Queue[Any]", table: Any) -> bool:
        """Whether it found a place before the run was stopped."""
        while not self.stop.is_set():
            try:
                ready.put(table, timeout=LOOK)
            except Full:
                continue
            return True
        return False


def decode_items(table: Any, decoding: Decoding, settings: Settings) -> Iterator[Any]:
    """A decode task: tables of `wire.DECODED`, one item's fault one row's."""
    decoder = _decoder(decoding, settings.pixel_budget, settings.num_frames)
    items = iter(items_of(table))
    while some := list(islice(items, TOGETHER)):
        ready = [(at, make_ready(item, decoding.find_prompt, decoder)) for at, item in some]
        yield decoded_table(ready)


class ScoreActor:
    """The model in an actor; a table of decoded items in, of scored rows out."""

    def __init__(self, scoring: Scoring) -> None:
        self._digest = scoring.settings.digest
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
        self._tokens, self._index = engine.tokens, ScoreIndex()
        stop = threading.Event()
        self._launcher = Launcher(engine.model, engine.device, engine.batch_size, stop)

    def __call__(self, table: Any) -> Any:
        if self._failure is not None:
            return failure_table(self._failure, self._schema)
        ready = ready_of(table)
        items = [one for _, one in ready]
        rows = Window(items, self._launcher, self._index, self._tokens, None).rows()
        indices = [index for index, _ in ready]
        return scored_table(list(zip(indices, rows, strict=True)), self._schema, self._digest)


@lru_cache(maxsize=1)
def _decoder(decoding: Decoding, pixel_budget: int, num_frames: int) -> Decoder:
    try:
        # A worker process is ours alone as long as the run lasts.
        os.chdir(decoding.folder)
    except OSError as error:
        raise UsageError(
            f"{platform.node()} has no folder {decoding.folder}: {error.strerror}; the folder "
            "that Ray is run from and the media must be on storage that every node has"
        ) from error
    torch.set_num_threads(1)
    folder = locate(decoding.model, decoding.revision, decoding.download).folder
    encoder = PromptEncoder(Path(folder, "tokenizer.json"), decoding.max_prompt_tokens)
    return Decoder(encoder, VideoReaders(decoding.video_backend), pixel_budget, num_frames)


def _check_same(foreseen: Settings, found: Settings) -> None:
    before, now = foreseen.record(), found.record()
    differ = "; ".join(f"{k} {now[k]!r}, not {before[k]!r}" for k in now if now[k] != before[k])
    if differ:
        raise EngineError(
            f"the actor on {platform.node()} has other settings: {differ}",
            hint="Name them: --device, --dtype, --attn; the model must be the same everywhere.",
        )


def _failed(error: Exception) -> EngineError:
    lines = [line for line in str(error).strip().splitlines() if line.strip()]
    reason = lines[-1].strip() if lines else type(error).__name__
    return EngineError(
        f"Ray stopped: {reason}", hint="Whole parts are kept; --resume goes on with the others."
    )
