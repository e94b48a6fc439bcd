"""The shares of work: which unit is scored next, and what becomes of a unit whose process died.

A unit is a part of the output. If its process dies, the part is scored again alone, then in pieces,
then item by item: an item whose processes die even then gets a WorkerDiedError.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from librehps.runs.part_writer import PartWriter, Unit, UnitResult
from librehps.runs.ray.block_shares import BlockShares

# The number of pieces of a part whose process died twice.
PIECES = 16
# The number of processes that may die with a part, and then with a single item.
MAX_TRIES = 2


@dataclass
class Shares:
    """The units that are still to be scored, and the rows of parts that are scored in pieces.

    `blocks` are those that were scored before, whose rows the units need not score.
    """

    writer: PartWriter
    waiting: deque[Unit]
    blocks: BlockShares
    suspects: deque[Unit] = field(default_factory=deque)
    _open: int = 0
    _pieces: dict[int, dict[int, UnitResult]] = field(default_factory=dict)

    @classmethod
    def of(
        cls, units: Iterable[Unit], writer: PartWriter, blocks: BlockShares | None = None
    ) -> "Shares":
        blocks = BlockShares() if blocks is None else blocks
        # Parts whose blocks are being scored come last.
        shares = cls(writer, deque(sorted(units, key=blocks.is_busy)), blocks)
        shares._open = len(shares.waiting)
        return shares

    @property
    def number(self) -> int:
        """The number of units that wait for a process."""
        return len(self.waiting)

    @property
    def is_open(self) -> bool:
        """True while some part is not written."""
        return self._open > 0

    def take(self, is_idle: bool, may_queue: bool) -> Unit | None:
        """Return the next unit for a process: a suspect one only if the process `is_idle`.

        `may_queue`: the process may get a further unit before it has finished those it has.
        """
        if is_idle and self.suspects:
            return self.suspects.popleft()
        if not self.waiting or not (is_idle or may_queue):
            return None
        # A process with other work need not score again what is in a block in a moment.
        if not is_idle and self.blocks.is_busy(self.waiting[0]):
            return None
        return self.blocks.used_by(self.waiting.popleft())

    def give_back(self, unit: Unit) -> None:
        """Take back a unit that was not scored through no fault of its items."""
        (self.suspects if unit.deaths else self.waiting).appendleft(unit)

    def reject(self, unit: Unit) -> None:
        """Take back a unit that was scored without its media; its part must not count as done."""
        if self.writer.is_whole(unit) and not unit.failed_only:
            self.writer.parts.delete(unit.part)
        self.give_back(unit)

    def died(self, unit: Unit) -> None:
        """Take back a unit whose process died."""
        unit = unit._replace(deaths=unit.deaths + 1, tries=unit.tries + 1)
        may_retry = self.writer.is_whole(unit) or unit.rows == 1
        if may_retry and unit.tries < MAX_TRIES:
            self.suspects.append(unit)
        elif unit.rows == 1:
            self.suspects.append(unit._replace(lost=True))
        else:
            self._pieces.setdefault(unit.part, {})
            self.suspects.extend(_split(unit._replace(tries=0)))

    def scored(self, result: UnitResult) -> UnitResult | None:
        """Count a result; return it if its part is written now, else None."""
        unit = result.unit
        if self.writer.is_whole(unit) and result.table is None:
            self._open -= 1
            return result
        pieces = self._pieces[unit.part]
        pieces[unit.start] = result
        first, end = self.writer.parts.bounds(unit.part)
        if sum(piece.unit.rows for piece in pieces.values()) < end - first:
            return None
        return self._joined(unit, [pieces[start] for start in sorted(pieces)])

    def _joined(self, unit: Unit, pieces: list[UnitResult]) -> UnitResult:
        start, end = self.writer.parts.bounds(unit.part)
        whole = UnitResult(unit._replace(start=start, end=end))
        tables: list[Any] = []
        for piece in pieces:
            whole.progress.merge(piece.progress)
            tables.append(piece.table)
        self.writer.write(whole.unit, tables, whole.progress.failed)
        del self._pieces[unit.part]
        self._open -= 1
        return whole


def _split(unit: Unit) -> Iterator[Unit]:
    """Yield the pieces of a unit; a piece is split into its items."""
    size = max(1, -(-unit.rows // PIECES)) if unit.rows > PIECES else 1
    for start in range(unit.start, unit.end, size):
        yield unit._replace(start=start, end=min(start + size, unit.end))
