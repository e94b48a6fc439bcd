"""The blocks of a listing that is still growing: which is scored next, and which are scored."""

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from librehps.engine.engine import Work
from librehps.runs.blocks import BLOCK_ROWS, block_parts, blocks_of, ok_rows
from librehps.runs.part_writer import PartWriter, Unit, UnitResult
from librehps.runs.progress import RunProgress


def no_progress() -> RunProgress:
    """Return the progress of no rows."""
    return RunProgress(None, Work())


@dataclass
class BlockShares:
    """The blocks of a run; a block that is lost is left to the part that holds its items.

    `listed` is the number of items that can be scored so far, `progress` counts the ok rows.
    """

    writer: PartWriter | None = None
    listed: int = 0
    progress: RunProgress = field(default_factory=no_progress)
    _next: int = 0
    _again: deque[Unit] = field(default_factory=deque)
    _busy: set[int] = field(default_factory=set)
    _scored: set[int] = field(default_factory=set)

    @classmethod
    def found(cls, writer: PartWriter, units: Iterable[Unit]) -> "BlockShares":
        """Return the blocks that an earlier call has written, with the ok rows of the units."""
        parts = block_parts(writer.listing, writer.parts.run)
        whole = parts.whole()
        shares = cls(_scored=set(whole))
        for unit in units if whole else ():
            for first in shares.used_by(unit).blocks:
                start, end = max(first, unit.start), min(first + BLOCK_ROWS, unit.end)
                # Most blocks have no error, and need not be read.
                has_errors = whole[first].errors > 0
                has_row = ok_rows(parts, [first], start, end)[0] if has_errors else None
                shares.progress.ok += end - start if has_row is None else int(has_row.sum())
        return shares

    @property
    def number(self) -> int:
        """The number of blocks that wait for a process."""
        return len(self._again) + (self.listed - self._next) // BLOCK_ROWS

    def take(self, is_idle: bool, may_queue: bool) -> Unit | None:
        """Return the next block for a process, as `Shares.take`."""
        if not self.number or not (is_idle or may_queue):
            return None
        if self._again:
            unit = self._again.popleft()
        else:
            first, self._next = self._next, self._next + BLOCK_ROWS
            unit = Unit(first, first, first + BLOCK_ROWS, is_block=True)
        self._busy.add(unit.part)
        return unit

    def give_back(self, unit: Unit) -> None:
        """Take back a block that was not scored through no fault of its items."""
        self._busy.discard(unit.part)
        self._again.append(unit)

    def reject(self, unit: Unit) -> None:
        """Take back a block that was scored without its media, whose failed rows nobody uses."""
        self.give_back(unit)

    def died(self, unit: Unit) -> None:
        """Leave a block whose process died to its part, which finds the item."""
        self._busy.discard(unit.part)

    def scored(self, result: UnitResult) -> UnitResult | None:
        """Return the progress that a scored block makes; None where its part was scored already."""
        first = result.unit.part
        if first not in self._busy:
            return None
        self._busy.discard(first)
        self._scored.add(first)
        # A failed row is scored again with its part, and counted then.
        result.progress.failed, result.progress.errors = 0, Counter()
        return result

    def is_busy(self, unit: Unit) -> bool:
        """Return True if blocks of the unit are being scored."""
        return bool(self._busy) and any(first in self._busy for first in _blocks(unit))

    def used_by(self, unit: Unit) -> Unit:
        """Return the unit with its scored blocks; those that come later are not used."""
        if unit.failed_only or not (self._scored or self._busy):
            return unit
        firsts = _blocks(unit)
        self._busy.difference_update(firsts)
        return unit._replace(blocks=tuple(first for first in firsts if first in self._scored))


def _blocks(unit: Unit) -> range:
    return blocks_of(unit.start, unit.end)
