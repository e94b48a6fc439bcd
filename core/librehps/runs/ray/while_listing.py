"""Scoring while the source is being listed, so that the GPUs of a cluster need not wait for it."""

import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from librehps.items.item_columns import ItemColumns
from librehps.runs.item_json import Listed
from librehps.runs.listing import CHUNK_ITEMS
from librehps.runs.ray.engine import RayEngine


class WatchedSource:
    """A source that tells the blocks how far it is listed, and raises an error of the scoring."""

    def __init__(self, source: Listed, engine: RayEngine, scoring: "Future[None]") -> None:
        self._source, self._engine, self._scoring = source, engine, scoring

    def item_columns(self) -> Iterator[ItemColumns]:
        """Yield the items of the source."""
        total = 0
        for items in self._source.item_columns():
            yield items
            total += len(items)
            # Who takes more items has written the whole chunks of these.
            self._engine.blocks.listed = total - total % CHUNK_ITEMS
            if self._scoring.done():
                self._scoring.result()

    def facts(self) -> Mapping[str, Any]:
        return self._source.facts()


@contextmanager
def scoring_while_listing(source: Listed, engine: RayEngine) -> Iterator[Listed]:
    """Return a context manager that scores blocks until its end, and yields the source to list."""
    is_listed = threading.Event()
    with ThreadPoolExecutor(1, "score-blocks") as thread:
        scoring = thread.submit(engine.run_blocks, is_listed)
        try:
            yield WatchedSource(source, engine, scoring)
        finally:
            is_listed.set()
    scoring.result()
