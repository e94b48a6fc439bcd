"""Windows whose rows go to the journal together, and the indices of their items."""

import time
from collections import deque
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from librehps.scores.scored_rows import as_columns, joined
from librehps.types import ScoredRow

# With a model a window takes longer than HOLD_S; quicker ones, as of cached scores, are gathered.
HOLD_S = 0.1
MAX_HELD_ROWS = 4096


def gathered(
    windows: Iterator[Sequence[ScoredRow]], axes: Sequence[str]
) -> Iterator[Sequence[ScoredRow]]:
    """Yield the rows of windows, those of windows that quickly follow each other together.

    Rows are held until they are `MAX_HELD_ROWS`, or a window comes `HOLD_S` or later after the last
    yield; also until a window has no rows, which tells of a wait, and until the windows end, or
    raise an error, which then follows the rows.
    """
    held: list[Sequence[ScoredRow]] = []
    count, left = 0, time.monotonic()
    try:
        for window in windows:
            is_due = not window or time.monotonic() - left >= HOLD_S
            if window:
                held.append(window)
                count += len(window)
            if held and (is_due or count >= MAX_HELD_ROWS):
                rows, held, count = _together(held, axes), [], 0
                yield rows
                left = time.monotonic()
    finally:
        # None are held once the caller has closed this generator.
        if held:
            yield _together(held, axes)


def _together(windows: Sequence[Sequence[ScoredRow]], axes: Sequence[str]) -> Sequence[ScoredRow]:
    if len(windows) == 1:
        return windows[0]
    return joined([as_columns(rows, axes) for rows in windows])


class IndexQueue:
    """The indices of items whose rows are awaited, first in, first out."""

    def __init__(self) -> None:
        self._waiting: deque[NDArray[np.int64]] = deque()

    def add(self, indices: Sequence[int]) -> None:
        """Append indices."""
        if isinstance(indices, range):
            self._waiting.append(np.arange(indices.start, indices.stop, indices.step))
        else:
            self._waiting.append(np.array(indices, np.int64))

    def take(self, count: int) -> NDArray[np.int64]:
        """Return and remove the first `count` indices."""
        taken = [np.empty(0, np.int64)]
        while count:
            first = self._waiting.popleft()
            if len(first) > count:
                self._waiting.appendleft(first[count:])
            taken.append(first[:count])
            count -= len(taken[-1])
        return np.concatenate(taken)
