"""The rows of some items that follow each other, taken from the windows in which they come."""

from librehps.scores.scored_rows import ScoredRows, joined


class AwaitedRows:
    """The rows so far of `count` items, at least one, that an engine scores one after the other."""

    def __init__(self, count: int) -> None:
        self._left, self._parts = count, list[ScoredRows]()

    def take(self, window: ScoredRows, start: int) -> int:
        """Take the rows of a window from `start` on that are awaited; return where they end."""
        end = min(len(window), start + self._left)
        self._parts.append(window.cut(start, end))
        self._left -= end - start
        return end

    @property
    def are_whole(self) -> bool:
        """True once all rows are there."""
        return not self._left

    def rows(self) -> ScoredRows:
        """Return the rows so far, in order."""
        return joined(self._parts)
