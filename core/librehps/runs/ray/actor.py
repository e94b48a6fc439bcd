"""The actor: a process of the cluster that scores units with a local engine and writes their parts.

An actor needs no other process: it reads the listing and the media, decodes in threads, runs the
model, and writes. So no stage of the run can wait for resources that another stage holds.
"""

import contextlib
import logging
import os
import platform
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch

from librehps.engine.disk_cache import NO_CACHE
from librehps.engine.engine import FindPrompt, LocalEngine, Work
from librehps.errors import (
    EngineError,
    ItemError,
    LibreHPSError,
    MediaDeniedError,
    MediaError,
    OutageError,
    StorageError,
    WorkerDiedError,
)
from librehps.media.media import place_of
from librehps.runs.awaited_rows import AwaitedRows
from librehps.runs.part_writer import PartWriter, Unit, UnitResult
from librehps.runs.progress import RunProgress
from librehps.scores.scored_rows import ScoredRows, as_columns
from librehps.settings import Settings, differing
from librehps.storage.outputs import listed
from librehps.storage.places import is_remote
from librehps.storage.store import exists
from librehps.storage.url_path import AnyPath
from librehps.types import Item

log = logging.getLogger("librehps")

# The number of places that are returned of media that could not be read.
MAX_UNREAD = 4


class Place(NamedTuple):
    """The node of an actor: Ray's id of the node, and a name for people."""

    node: str
    name: str


class Blind(NamedTuple):
    """The answer of an actor on a node that lacks a file of the run, the model or the network."""

    message: str


Answer = UnitResult | Blind | LibreHPSError


class Scorer(Protocol):
    """A loaded model (`LibreHPS`)."""

    settings: Settings

    def engine(
        self, find_prompt: FindPrompt, *, cache: str | Path, hashes: bool
    ) -> LocalEngine: ...


@dataclass(frozen=True)
class Scoring:
    """The model with its expected settings, the prompts, and the folders of an actor.

    `journal` is the run's, `folder` the base of relative paths, `cache` that of the score cache.
    `threads` is for torch (None: as torch chooses), `home` the node of the driver. With `hashes`
    the rows have perceptual hashes.
    """

    load: Callable[[], Scorer]
    settings: Settings
    find_prompt: FindPrompt
    journal: AnyPath
    folder: str
    threads: int | None = None
    home: str = ""
    cache: Path | None = None
    hashes: bool = False


class ScoreActor:
    """An actor with the model; its methods return a foreseen error instead of raising the error."""

    def __init__(self, scoring: Scoring) -> None:
        # Light, so that an actor that has a place on a node says so before it loads the model.
        self._scoring = scoring
        self._stream: Stream | None = None
        self._loading = threading.Lock()

    def place(self) -> Place:
        """Return the node of this actor."""
        import ray

        node = ray.get_runtime_context().get_node_id()
        return Place(node, f"{platform.node()} (Ray node {node[:8]})")

    def load(self, workers: int | None) -> Answer | None:
        """Load the model; `workers` are the threads that decode (None: as the engine chooses)."""
        with self._loading:
            return None if self._stream is not None else self._load(workers)

    def _load(self, workers: int | None) -> Answer | None:
        scoring = self._scoring
        self._place = self.place()
        try:
            # This run does not share its worker processes.
            os.chdir(scoring.folder)
            _check_seen(scoring.journal)
            if scoring.threads is not None:
                torch.set_num_threads(scoring.threads)
            scorer = scoring.load()
        except OSError as error:
            return self._blind(error)
        except StorageError as error:
            return self._of_node(error, "cannot read the listing")
        except LibreHPSError as error:
            return self._of_node(error, "cannot load the model")
        try:
            _check_same(scoring.settings, scorer.settings)
            self._warnings = Warnings()
            logging.getLogger("librehps").addHandler(self._warnings)
            engine = scorer.engine(scoring.find_prompt, cache=self._cache(), hashes=scoring.hashes)
        except LibreHPSError as error:
            return error
        if workers is not None:
            engine.workers = workers
        self._stream = Stream(engine, scoring.threads)
        return None

    def _cache(self) -> str | Path:
        """Return the score cache that the driver has made, or `none` where this node lacks it."""
        folder = self._scoring.cache
        if folder is None or folder.is_dir():
            return folder or NO_CACHE
        log.warning("%s has no folder %s: it scores without the cache", self._place.name, folder)
        return NO_CACHE

    def score(self, unit: Unit, writer: PartWriter) -> Answer:
        """Score a unit; write its part, or return its rows if it is less than a part."""
        assert self._stream is not None  # noqa: S101 - called after `load`
        try:
            items = writer.items(unit)
        except OSError as error:
            return self._blind(error)
        except StorageError as error:
            return self._of_node(error, "cannot read the listing")
        try:
            if unit.lost:
                items = [_lost(item, unit.deaths) for item in items]
            rows, work = self._stream.score(items)
            return self._written(unit, rows, work, writer)
        except OutageError as error:
            return self._of_node(error, "cannot read media")
        except LibreHPSError as error:
            return error

    def sees(self, places: Sequence[str | Path]) -> bool:
        """Return whether this node can read one of the files and URLs."""
        return any(map(is_readable, places))

    def _written(self, unit: Unit, rows: ScoredRows, work: Work, writer: PartWriter) -> UnitResult:
        progress = RunProgress(None, work)
        errors = [
            error and self._told(i, error) for i, error in zip(rows.items, rows.errors, strict=True)
        ]
        rows = replace(rows, errors=errors)
        progress.add_all(rows)
        table = writer.with_blocks(unit, writer.table(rows))
        result = UnitResult(unit, progress, unread=tuple(_unread(rows)))
        result.warnings = self._warnings.taken()
        if writer.is_whole(unit):
            writer.write(unit, [table], progress.failed)
        else:
            result.table = table
        return result

    def _told(self, item: Item, error: ItemError) -> ItemError:
        """Return the error; it names this node if the node does not have the media's folder.

        On the driver's node an error is that of a local run.
        """
        file = _local_file(item)
        if file is None or self._place.node == self._scoring.home or _exists(file.parent):
            return error
        return type(error)(f"{error} (folder {file.parent} not found on {self._place.name})")

    def _of_node(self, error: LibreHPSError, problem: str) -> Answer:
        """Return the error on the driver's node; elsewhere another node may do better."""
        if self._place.node == self._scoring.home:
            return error
        return Blind(f"{self._place.name} {problem}: {error}")

    def _blind(self, error: OSError) -> Blind:
        return Blind(
            f"{self._place.name} cannot read {error.filename or 'the listing'}: {error.strerror}"
        )


class Warnings(logging.Handler):
    """The warnings of this process that the driver has still to show, each once."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._taken: set[str] = set()
        self._new: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the record's text."""
        self._new.add(record.getMessage())

    def taken(self) -> tuple[str, ...]:
        """Return the new warnings."""
        new, self._new = self._new, set()
        new -= self._taken
        self._taken |= new
        return tuple(sorted(new))


@dataclass
class _Batch:
    """Items that are scored together as one unit, and their rows so far."""

    rows: AwaitedRows
    done: "Future[ScoredRows]" = field(default_factory=Future)


class Stream:
    """A local engine that runs without end, so that one unit is decoded while another is scored."""

    def __init__(self, engine: LocalEngine, threads: int | None) -> None:
        self._engine, self._threads = engine, threads
        engine.would_wait = self._would_wait
        self._items: deque[Item] = deque()
        self._batches: deque[_Batch] = deque()
        self._added = threading.Condition()
        self._counted = (0, 0.0)
        self._ended: Future[Any] = Future()
        threading.Thread(target=self._run, name="score", daemon=True).start()

    def score(self, items: Sequence[Item]) -> tuple[ScoredRows, Work]:
        """Return the rows of the items, in order, and the work since the last call returned."""
        batch = _Batch(AwaitedRows(len(items)))
        if items:
            with self._added:
                self._batches.append(batch)
                self._items.extend(items)
                self._added.notify()
        else:
            batch.done.set_result(as_columns([], self._engine.model.axes))
        futures: list[Future[Any]] = [batch.done, self._ended]
        wait(futures, return_when=FIRST_COMPLETED)
        if self._ended.done():
            self._ended.result()
        rows = batch.done.result()
        with self._added:
            work, before = self._engine.work, self._counted
            self._counted = (work.forwards, work.forward)
        return rows, Work(len(rows), work.forwards - before[0], work.forward - before[1])

    def _would_wait(self, seconds: float) -> bool:
        with self._added:
            return not self._added.wait_for(lambda: bool(self._items), seconds)

    def _source(self) -> Iterator[Item]:
        while True:
            yield self._items.popleft()

    def _run(self) -> None:
        if self._threads is not None:
            torch.set_num_threads(self._threads)
        try:
            for window in self._engine.windows(self._source()):
                taken = 0
                while taken < len(window):
                    batch = self._batches[0]
                    taken = batch.rows.take(window, taken)
                    if batch.rows.are_whole:
                        self._batches.popleft()
                        batch.done.set_result(batch.rows.rows())
        except BaseException as error:
            # For the threads that wait for rows.
            self._ended.set_exception(error)
            raise


def _check_seen(journal: AnyPath) -> None:
    """Raise OSError or StorageError where this node cannot list the journal's folder."""
    if isinstance(journal, Path):
        os.listdir(journal)  # noqa: PTH208 - only for its error
    else:
        listed(journal)


def _unread(rows: ScoredRows) -> list[str | Path]:
    """Return some places of failed rows: files that do not exist here, URLs without access."""
    failed = [(i, error) for i, error in zip(rows.items, rows.errors, strict=True) if error]
    unread = (place for one in failed if (place := _unread_place(*one)) is not None)
    return list(islice(unread, MAX_UNREAD))


def _unread_place(item: Item, error: ItemError) -> str | Path | None:
    if (file := _local_file(item)) is not None:
        # Whatever the error is.
        return None if _exists(file) else file
    # No access, or a lack of the driver for such URLs; other errors are the same on every node.
    is_of_node = isinstance(error, MediaDeniedError) or type(error) is MediaError
    return (place_of(item.media) or None) if is_of_node else None


def is_readable(place: str | Path) -> bool:
    """Return whether a file or URL can be read from this process."""
    if isinstance(place, Path):
        return _exists(place)
    with contextlib.suppress(StorageError):
        return exists(place)
    return False


def _local_file(item: Item) -> Path | None:
    """Return the file that holds the media; None for a URL."""
    place = place_of(item.media)
    return Path(place) if place and not is_remote(place) else None


def _exists(file: Path) -> bool:
    # Unlike Path.exists, this is False for a name that is too long or has a NUL.
    return os.path.exists(file)  # noqa: PTH110


def _lost(item: Item, deaths: int) -> Item:
    died = WorkerDiedError(f"all {deaths} processes that tried this item died")
    return replace(item, problem=died)


def _check_same(foreseen: Settings, found: Settings) -> None:
    before, now = foreseen.record(), found.record()
    differ = "; ".join(f"{k} {now.get(k)!r}, not {before.get(k)!r}" for k in differing(before, now))
    if differ:
        raise EngineError(
            f"the actor on {platform.node()} has different settings: {differ}",
            hint="Set --device, --dtype and --attn, and use the same model and the same "
            "LIBREHPS_KERNELS on every node.",
        )
