"""The stages on one machine: decoding of one window overlaps the forward of the one before."""

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice, takewhile

import torch

from librehps.engine.index import ScoreIndex, key_of
from librehps.engine.launch import Launcher
from librehps.errors import ItemError, MediaError
from librehps.media.content import Content
from librehps.model.backbone import RewardModel
from librehps.model.heads import HeadOutput
from librehps.pipeline.decode import Decoded, Decoder
from librehps.pipeline.plan import plan
from librehps.pipeline.row import error_row, is_finite, ok_row, to_score
from librehps.types import Item, ScoredRow

# Batches a window is cut into: enough for neighbours of like length, few enough to answer soon.
WINDOW = 4

# Of content and prompt; of pixels in memory their place in the window.
Key = bytes | int
Outputs = dict[Key, HeadOutput | ItemError]
FindPrompt = Callable[[Item, Content], Item]


@dataclass
class Work:
    """What a run has done so far; times in seconds, `forward` that the device was busy."""

    rows: int = 0
    forwards: int = 0
    forward: float = 0.0
    started: float = field(default_factory=time.perf_counter)

    def add(self, rows: int, forwards: int, seconds: float) -> None:
        self.rows += rows
        self.forwards += forwards
        self.forward += seconds

    @property
    def seconds(self) -> float:
        """Wall time since the run began."""
        return time.perf_counter() - self.started

    @property
    def busy(self) -> float:
        """Share of the wall time that the device was busy, in [0, 1]."""
        return min(1.0, self.forward / max(self.seconds, 1e-9))


@dataclass(frozen=True)
class Ready:
    """One item after its worker: decoded, or the reason why not."""

    item: Item
    decoded: Decoded | None
    error: ItemError | None = None


def _as_it_is(item: Item, content: Content) -> Item:
    return item


@dataclass
class LocalEngine:
    """Scores items in order; one that cannot be scored costs its own row only.

    `find_prompt` gives an item its prompt; `index` knows what was scored before. One window is in
    memory while the next is decoded, and no more, however many items there are. Once `stop` is
    set, the batch on the device is the last.
    """

    model: RewardModel
    decoder: Decoder
    device: torch.device
    batch_size: int
    workers: int
    find_prompt: FindPrompt = _as_it_is
    index: ScoreIndex | None = None
    work: Work = field(default_factory=Work)
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self, items: Iterable[Item]) -> Iterator[ScoredRow]:
        """A row for each item, in the order of the items."""
        source, size = iter(items), self.batch_size * WINDOW
        waiting: deque[list[Future[Ready]]] = deque()
        launcher = Launcher(self.model, self.device, self.batch_size)
        pool = ThreadPoolExecutor(self.workers, thread_name_prefix="decode")
        try:
            while not self.stop.is_set():
                window = list(islice(source, size))
                if window:
                    waiting.append([pool.submit(self._prepare, item) for item in window])
                if not window or len(waiting) > 1:
                    if not waiting:
                        return
                    ready = [future.result() for future in waiting.popleft()]
                    yield from self._score(ready, launcher)
        finally:
            pool.shutdown(cancel_futures=True)

    def _prepare(self, item: Item) -> Ready:
        """In a worker: prompt, bytes, pixels."""
        content = Content(item.media)
        try:
            if item.problem is not None:
                raise item.problem
            item = self.find_prompt(item, content)
            return Ready(item, self.decoder.decode(item, content))
        except ItemError as error:
            return Ready(item, None, error)
        except (ValueError, OSError, MemoryError, RecursionError) as error:
            # Of a name that is no path, or a picture that no reader foresaw.
            reason = f"{type(error).__name__}: {error}"
            return Ready(item, None, MediaError(f"{content.name} cannot be read: {reason}"))

    def _score(self, window: list[Ready], launcher: Launcher) -> list[ScoredRow]:
        sources = self._sources(window)
        outputs = self._known(sources)
        new = [key for key in sources if key not in outputs]
        decoded = [_decoded(window[sources[key][0]]) for key in new]
        lengths = [len(d.prepared.stream.ids) for d in decoded]
        batches = takewhile(lambda _: not self.stop.is_set(), plan(lengths, launcher.batch_size))
        for index, output in launcher.run([d.prepared for d in decoded], batches):
            outputs[new[index]] = output
        self._keep({key: outputs[key] for key in new if key in outputs})
        rows = {at: _error(ready) for at, ready in enumerate(window) if ready.error is not None}
        for key in sources.keys() & outputs.keys():
            rows |= {at: _row(window[at], outputs[key]) for at in sources[key]}
        self.work.add(rows=len(rows), forwards=len(new), seconds=launcher.take_seconds())
        # After a stop, the rows behind the first that is missing come again with --resume.
        return [rows[at] for at in takewhile(rows.__contains__, range(len(window)))]

    def _sources(self, window: list[Ready]) -> dict[Key, list[int]]:
        """Places in the window by key; each place of pixels in memory under its own number."""
        sources: dict[Key, list[int]] = {}
        for at, ready in enumerate(window):
            if ready.decoded is not None:
                key = key_of(ready.decoded, ready.item.prompt or "")
                sources.setdefault(at if key is None else key, []).append(at)
        return sources

    def _known(self, sources: Iterable[Key]) -> Outputs:
        if self.index is None:
            return {}
        found = self.index.find([key for key in sources if isinstance(key, bytes)])
        return dict(found.items())

    def _keep(self, outputs: Outputs) -> None:
        if self.index is None:
            return
        self.index.add(
            (key, out)
            for key, out in outputs.items()
            if isinstance(key, bytes) and isinstance(out, HeadOutput) and is_finite(out)
        )


def default_workers() -> int:
    """Decode threads: one for each core that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _decoded(ready: Ready) -> Decoded:
    assert ready.decoded is not None  # noqa: S101 - only decoded items are launched
    return ready.decoded


def _row(ready: Ready, output: HeadOutput | ItemError) -> ScoredRow:
    if isinstance(output, ItemError):
        return error_row(ready.item, output)
    decoded = _decoded(ready)
    try:
        return ok_row(ready.item, to_score(output, 0, decoded), decoded)
    except ItemError as error:
        return error_row(ready.item, error)


def _error(ready: Ready) -> ScoredRow:
    assert ready.error is not None  # noqa: S101 - what was not decoded has a reason
    return error_row(ready.item, ready.error)
