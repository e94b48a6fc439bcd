"""A window: items that are decoded, batched and scored together, up to their rows."""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from operator import attrgetter
from typing import Any, cast

from librehps.engine.content_key import content_keys
from librehps.engine.decode import Decoded
from librehps.engine.device import BatchResult, Launcher
from librehps.engine.disk_cache import CachedScore, ContentScores
from librehps.engine.outcome import decoded_columns, is_finite, scored_rows
from librehps.engine.outputs import Outputs
from librehps.engine.plan import plan
from librehps.engine.ready import Ready, ReadyItems
from librehps.engine.score_cache import KnownScores
from librehps.models.base import Prepared, RawScore
from librehps.scores.scored_rows import ScoredRows
from librehps.types import Item, Kind

# Digest of (content hash, prompt); for pixels in memory the item's index in its window.
Key = bytes | int

_cost_of, _prompt_of = attrgetter("cost"), attrgetter("prompt")


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
        self._columns = decoded_columns(ready.decoded)
        self._keys = _keys(ready.items, self._columns)
        # Nearly always: no errors, no pixels in memory.
        self._all_have_content = set(map(type, self._keys)) <= {bytes}
        # The first item with each key.
        self._places = _places(self._keys)
        self._outputs = Outputs(self._size, len(self._axes))
        known = self._known()
        self._outputs.put([self._places[key] for key in known], list(known.values()))
        self._before = before
        # An integer key is valid only in its own window.
        running = () if before is None else before._new.keys() & self._places.keys()
        self._shared = {key for key in running if isinstance(key, bytes)}
        self._new: dict[Key, int] = self._places
        if given := known.keys() | self._shared:
            self._new = {key: at for key, at in self._places.items() if key not in given}
        self.forwards = len(self._new)
        self._running = self._launched(launcher, tokens, usual or len(ready) or 1)

    def _launched(
        self, launcher: Launcher, tokens: int | None, usual: int
    ) -> list[tuple[list[int], Future[BatchResult]]]:
        """Launch the items that are new; return the indices of each batch and its future."""
        places = list(self._new.values())
        prepared: Sequence[Prepared] = self._columns.prepared
        if len(places) < len(prepared):
            prepared = [prepared[at] for at in places]
        costs, cut, start = list(map(_cost_of, prepared)), list[list[int]](), 0
        for end_item in range(usual, self._size + usual, usual):
            end = bisect_left(places, end_item)
            batches = plan(costs[start:end], launcher.batch_size, tokens)
            cut += ([start + at for at in batch] for batch in batches)
            start = end
        futures = launcher.submit([[prepared[at] for at in batch] for batch in cut])
        of_batches = [[places[at] for at in batch] for batch in cut]
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
        # A stopped batch returns fewer results.
        self._outputs.put_batches((places, future.result()) for places, future in self._running)
        if (before := self._before) is not None:
            pairs = [(self._places[key], before._places[key]) for key in self._shared]
            self._outputs.repeat(pairs, before._outputs)
            self._before = None
        rows = self._rows()
        self._keep(rows)
        # The next window refers to this one, but only for its outputs: free the rest.
        self._ready, self._running = ReadyItems.awaited(()), []
        self._columns, self._keys = None, []
        return rows

    def _rows(self) -> ScoredRows:
        """Return the rows before the first item without an output."""
        keys: Sequence[Any] = self._keys
        if len(self._places) < self._size:
            pairs = [(at, self._places[key]) for at, key in enumerate(keys) if key is not None]
            self._outputs.repeat((pair for pair in pairs if pair[0] != pair[1]), self._outputs)
        if not self._all_have_content:
            self._outputs.put_errors(self._ready.errors)
            keys = [key if type(key) is bytes else None for key in keys]
        outputs, end = self._outputs.first()
        items, columns = self._ready.items, self._columns
        if end < self._size:
            items, keys = items[:end], keys[:end]
            columns = Decoded._make(values[:end] for values in columns)
        return scored_rows(items, columns, outputs, keys, self._axes)

    def _known(self) -> dict[Key, RawScore]:
        known = dict[Key, RawScore]()
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
        new: Any = self._new
        in_rows = new
        if len(rows) < self._size or any(rows.errors) or not self._all_have_content:
            new = {key: at for key, at in new.items() if self._is_kept(rows, at)}
            in_rows = {key: at for key, at in new.items() if at < len(rows)}
        if self._index is not None:
            self._index.add(rows, in_rows)
        if self._cache is not None:
            ready = [(self._ready[at], self._outputs.score(at)) for at in new.values()]
            scored = ((one, raw) for one, raw in ready if raw is not None)
            self._cache.add(_cached(one, raw) for one, raw in [*scored, *self._hashed()])

    def _is_kept(self, rows: ScoredRows, at: int) -> bool:
        """Return whether a new item with content has a finite score."""
        if type(self._keys[at]) is not bytes:
            return False
        if at < len(rows):
            return rows.errors[at] is None
        raw = self._outputs.score(at)
        return raw is not None and is_finite(raw)

    def _hashed(self) -> Iterator[tuple[Ready, RawScore]]:
        """Yield the items whose scores the cache has, but not their perceptual hashes."""
        for one in self._ready:
            decoded = one.decoded
            if decoded is not None and decoded.is_new_hash and decoded.cached is not None:
                yield one, decoded.cached


def _keys(items: Sequence[Item], columns: Any) -> Sequence[Key | None]:
    """Return the key of each item, its index for pixels in memory, None for an error."""
    prompts = list(map(_prompt_of, items))
    kinds, hashes = columns.kind, columns.sha256
    if None not in hashes:
        return content_keys(kinds, hashes, prompts)
    # An item that is not decoded has no kind.
    found: list[Key | None] = [None if kind is None else at for at, kind in enumerate(kinds)]
    hashed = [at for at, sha256 in enumerate(hashes) if sha256 is not None]
    known = ([values[at] for at in hashed] for values in (kinds, hashes, prompts))
    for at, key in zip(hashed, content_keys(*known), strict=True):
        found[at] = key
    return found


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
