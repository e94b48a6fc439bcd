"""A window: items that are decoded, batched and scored together, up to their rows."""

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import takewhile

from librehps.engine.decode import Decoded
from librehps.engine.device import BatchResult, Launcher
from librehps.engine.disk_cache import CachedScore, ContentScores
from librehps.engine.outcome import error_row, is_finite, ok_row, to_score
from librehps.engine.plan import plan
from librehps.engine.score_cache import KnownScores, key_of
from librehps.errors import ItemError
from librehps.models.base import RawScore
from librehps.types import Item, Kind, ScoredRow

# Digest of (content hash, prompt); for pixels in memory the item's index in its window.
Key = bytes | int
Outputs = dict[Key, RawScore | ItemError]


@dataclass(slots=True)
class Ready:
    """An item after its decode worker: decoded, or with the error."""

    item: Item
    decoded: Decoded | None
    error: ItemError | None = None


class Window:
    """A window of decoded items, launched at construction; `before` is the previous window.

    Items whose score is cached, or that `before` is scoring, are not launched again; `forwards`
    counts the launched items, whose scores `cache` keeps for later runs.
    """

    def __init__(
        self,
        ready: Sequence[Ready],
        launcher: Launcher,
        index: KnownScores | None,
        tokens: int | None,
        before: "Window | None",
        cache: ContentScores | None = None,
    ) -> None:
        self._ready, self._index, self._size = ready, index, len(ready)
        self._cache = cache
        self._axes = launcher.axes
        self._sources = _sources(ready)
        self._outputs = self._known()
        self._before = before
        running: set[Key] = set() if before is None else before._new
        # An integer key is valid only in its own window.
        self._shared = {k for k in self._sources if isinstance(k, bytes) and k in running}
        new = [k for k in self._sources if k not in self._outputs and k not in self._shared]
        self._new: set[Key] = set(new)
        self.forwards = len(new)
        prepared = [_decoded(ready[self._sources[key][0]]).prepared for key in new]
        cut = list(plan([p.cost for p in prepared], launcher.batch_size, tokens))
        futures = launcher.submit([[prepared[index] for index in batch] for batch in cut])
        self._running: list[tuple[list[Key], Future[BatchResult]]] = [
            ([new[index] for index in batch], future)
            for batch, future in zip(cut, futures, strict=True)
        ]

    def __len__(self) -> int:
        return self._size

    def rows(self) -> list[ScoredRow]:
        """Wait for all batches; return the rows in order, after a stop those before the first gap.

        Call this after `before.rows()`.
        """
        for keys, future in self._running:
            # A stopped batch returns fewer results.
            self._outputs |= dict(zip(keys, future.result(), strict=False))
        if self._before is not None:
            shared = self._before._outputs
            self._outputs |= {key: shared[key] for key in self._shared & shared.keys()}
            self._before = None
        self._keep()
        rows = [None if r.error is None else error_row(r.item, r.error) for r in self._ready]
        for key, places in self._sources.items():
            if (output := self._outputs.get(key)) is not None:
                for at in places:
                    rows[at] = self._row(self._ready[at], output, key)
        # The next window refers to this one, but only for its outputs: free the rest.
        self._ready, self._sources, self._running = (), {}, []
        return [row for row in takewhile(bool, rows) if row]

    def _row(self, ready: Ready, output: RawScore | ItemError, key: Key) -> ScoredRow:
        if isinstance(output, ItemError):
            return error_row(ready.item, output)
        decoded = _decoded(ready)
        try:
            score = to_score(output, self._axes, decoded.frames)
            return ok_row(ready.item, score, decoded, key if isinstance(key, bytes) else None)
        except ItemError as error:
            return error_row(ready.item, error)

    def _known(self) -> Outputs:
        known: Outputs = {}
        if self._index is not None:
            found = self._index.find([key for key in self._sources if isinstance(key, bytes)])
            known |= dict(found.items())
        if self._cache is None:
            return known
        for key, places in self._sources.items():
            # Not always all or none: another process may add the score between two items.
            for at in places:
                if (raw := _decoded(self._ready[at]).cached) is not None:
                    known[key] = raw
        return known

    def _keep(self) -> None:
        new = {
            key: out
            for key in self._new & self._outputs.keys()
            if isinstance(key, bytes)
            and isinstance(out := self._outputs[key], RawScore)
            and is_finite(out)
        }
        if self._index is not None:
            self._index.add(new.items())
        if self._cache is not None:
            ready = [(self._ready[self._sources[key][0]], raw) for key, raw in new.items()]
            self._cache.add(_cached(one, raw) for one, raw in ready)


def _sources(ready: Sequence[Ready]) -> dict[Key, list[int]]:
    """Return item indices by key; pixels in memory have their own index as key."""
    sources: dict[Key, list[int]] = {}
    for at, one in enumerate(ready):
        if one.decoded is not None:
            key = key_of(one.decoded, one.item.prompt or "")
            sources.setdefault(at if key is None else key, []).append(at)
    return sources


def _cached(ready: Ready, raw: RawScore) -> tuple[Kind, str, str | None, CachedScore]:
    one = _decoded(ready)
    score = CachedScore(raw, one.width, one.height, one.frames, one.media_remarks)
    return one.kind, one.sha256 or "", ready.item.prompt, score


def _decoded(ready: Ready) -> Decoded:
    assert ready.decoded is not None  # noqa: S101 - only decoded items are launched
    return ready.decoded
