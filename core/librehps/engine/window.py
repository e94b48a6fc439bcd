"""A window: items that are decoded, batched and scored together, up to their rows."""

from bisect import bisect_left
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import Future
from operator import attrgetter
from typing import Any, cast

from librehps.engine.device import BatchResult, Launcher
from librehps.engine.disk_cache import CachedScore, ContentScores
from librehps.engine.outcome import is_finite, scored_rows
from librehps.engine.plan import plan
from librehps.engine.ready import Ready, ReadyItems
from librehps.engine.score_cache import KnownScores
from librehps.errors import ItemError
from librehps.models.base import Prepared, RawScore
from librehps.scores.scored_rows import ScoredRows
from librehps.types import Kind

# Digest of (content hash, prompt); for pixels in memory the item's index in its window.
Key = bytes | int
Outputs = dict[Key, RawScore | ItemError]

_prepared_of, _cost_of = attrgetter("prepared"), attrgetter("cost")


class Window:
    """A window of decoded items, launched at construction; `before` is the previous window.

    Items whose score is cached, or that `before` is scoring, are not launched again; `forwards`
    counts the launched items, whose scores `cache` keeps for later runs. Of `usual` items at a time
    batches are made, so that those of a large window are those of smaller ones.
    """

    def __init__(
        self,
        ready: ReadyItems,
        launcher: Launcher,
        index: KnownScores | None,
        tokens: int | None,
        before: "Window | None",
        cache: ContentScores | None = None,
        usual: int | None = None,
    ) -> None:
        self._ready, self._index, self._size = ready, index, len(ready)
        self._cache, self._axes = cache, launcher.axes
        self._keys = _keys(ready)
        # Nearly always: no errors, no pixels in memory.
        self._all_have_content = set(map(type, self._keys)) <= {bytes}
        # The first item with each key.
        self._places = _places(self._keys)
        self._outputs = self._known()
        self._before = before
        # An integer key is valid only in its own window.
        running = () if before is None else before._new.keys() & self._places.keys()
        self._shared = {key for key in running if isinstance(key, bytes)}
        self._new: dict[Key, int] = self._places
        if known := self._outputs.keys() | self._shared:
            self._new = {key: at for key, at in self._places.items() if key not in known}
        self.forwards = len(self._new)
        self._running = self._launched(launcher, tokens, usual or len(ready) or 1)

    def _launched(
        self, launcher: Launcher, tokens: int | None, usual: int
    ) -> list[tuple[list[Key], Future[BatchResult]]]:
        """Launch the items that are new; return the keys of each batch and its future."""
        keys, places = list(self._new), list(self._new.values())
        launched: Sequence[Any] = self._ready.decoded
        if len(places) < len(launched):
            launched = [launched[at] for at in places]
        prepared: list[Prepared] = list(map(_prepared_of, launched))
        costs, cut, start = list(map(_cost_of, prepared)), list[list[int]](), 0
        for end_item in range(usual, self._size + usual, usual):
            end = bisect_left(places, end_item)
            batches = plan(costs[start:end], launcher.batch_size, tokens)
            cut += ([start + at for at in batch] for batch in batches)
            start = end
        futures = launcher.submit([[prepared[at] for at in batch] for batch in cut])
        of_batches = [[keys[at] for at in batch] for batch in cut]
        return list(zip(of_batches, futures, strict=True))

    def __len__(self) -> int:
        return self._size

    @property
    def futures(self) -> list[Future[BatchResult]]:
        """The batches that `rows` waits for."""
        return [future for _, future in self._running]

    def rows(self) -> ScoredRows:
        """Wait for all batches; return the rows in order, after a stop those before the first gap.

        Call this after `before.rows()`.
        """
        for keys, future in self._running:
            # A stopped batch returns fewer results.
            self._outputs.update(zip(keys, future.result(), strict=False))
        if self._before is not None:
            shared = self._before._outputs
            self._outputs |= {key: shared[key] for key in self._shared & shared.keys()}
            self._before = None
        rows = self._rows()
        self._keep(rows)
        # The next window refers to this one, but only for its outputs: free the rest.
        self._ready, self._running = ReadyItems.awaited(()), []
        self._places, self._keys = {}, []
        return rows

    def _rows(self) -> ScoredRows:
        """Return the rows before the first item without an output."""
        outputs: Any = self._outputs
        keys: Sequence[Any] = self._keys
        outputs = list(map(outputs.get, keys))
        if not self._all_have_content:
            errors = self._ready.errors
            outputs = [one or errors.get(at) for at, one in enumerate(outputs)]
            keys = [key if type(key) is bytes else None for key in keys]
        items, decoded = self._ready.items, self._ready.decoded
        if None in outputs:
            end = outputs.index(None)
            items, decoded, outputs, keys = items[:end], decoded[:end], outputs[:end], keys[:end]
        return scored_rows(items, decoded, outputs, keys, self._axes)

    def _known(self) -> Outputs:
        known: Outputs = {}
        if self._index is not None:
            keys: list[Any] = list(self._places)
            if not self._all_have_content:
                keys = [key for key in keys if isinstance(key, bytes)]
            known |= dict(self._index.find(keys).items())
        if self._cache is None:
            return known
        # Of equal items not always all or none: another process may add the score between two.
        for one, key in zip(self._ready.decoded, self._keys, strict=True):
            if key is not None and one is not None and one.cached is not None:
                known[key] = one.cached
        return known

    def _keep(self, rows: ScoredRows) -> None:
        """Let the index and the cache know the new scores, the cache also those after a gap."""
        new: Any = self._outputs.items()
        places: Collection[int] = self._new.values()
        is_whole = len(rows) == self._size and not any(rows.errors)
        if not (is_whole and self._all_have_content and len(new) == len(self._new)):
            new = [
                (key, raw)
                for key, at in self._new.items()
                if type(key) is bytes
                and type(raw := self._outputs.get(key)) is RawScore
                and (rows.errors[at] is None if at < len(rows) else is_finite(raw))
            ]
            places = [at for key, _ in new if (at := self._new[key]) < len(rows)]
        if self._index is not None:
            self._index.add(rows, places)
        if self._cache is not None:
            ready = [(self._ready[self._new[key]], raw) for key, raw in new]
            self._cache.add(_cached(one, raw) for one, raw in [*ready, *self._hashed()])

    def _hashed(self) -> Iterator[tuple[Ready, RawScore]]:
        """Yield the items whose scores the cache has, but not their perceptual hashes."""
        for one in self._ready:
            decoded = one.decoded
            if decoded is not None and decoded.is_new_hash and decoded.cached is not None:
                yield one, decoded.cached


def _keys(ready: ReadyItems) -> Sequence[Key | None]:
    """Return the key of each item, its index for pixels in memory, None for an error."""
    if None not in ready.keys:
        return ready.keys
    pairs = zip(ready.keys, ready.decoded, strict=True)
    return [at if key is None and one is not None else key for at, (key, one) in enumerate(pairs)]


def _places(keys: Sequence[Key | None]) -> dict[Key, int]:
    """Return the index of the first item of each key."""
    found = dict(zip(keys, range(len(keys)), strict=True))
    if None not in found and len(found) == len(keys):
        return cast("dict[Key, int]", found)
    first: dict[Key, int] = {}
    for at, key in enumerate(keys):
        if key is not None:
            first.setdefault(key, at)
    return first


def _cached(ready: Ready, raw: RawScore) -> tuple[Kind, str, str | None, CachedScore]:
    one: Any = ready.decoded
    score = CachedScore(raw, one.width, one.height, one.frames, one.media_remarks, one.phash)
    return one.kind, one.sha256 or "", ready.item.prompt, score
