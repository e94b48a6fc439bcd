"""The number of items of a window."""

import time
from collections.abc import Callable

# Windows grow while they take less time than this: caches, errors and small media are quick.
QUICK_S = 0.05
# So large, in usual sizes, becomes a window at most.
MAX_GROWTH = 8


class WindowSize:
    """The size of the next window: `usual`, or after quick windows a multiple, as `items`.

    What a window costs beside its items is then shared by more of them.
    """

    def __init__(self, usual: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.usual = self.items = usual
        self._clock, self._since = clock, clock()

    def note(self, rows: int) -> None:
        """Note that a window of the run has its rows, and how long that took."""
        before, self._since = self._since, self._clock()
        fitting = rows * QUICK_S / max(self._since - before, 1e-9)
        times = min(fitting // self.usual, 2 * self.items // self.usual, MAX_GROWTH)
        self.items = self.usual * max(1, int(times))
