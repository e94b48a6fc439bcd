"""The engine on a Ray cluster: actors score the parts of the output and write them.

This process sends (part, start, end) and receives counts; it holds neither items nor rows. Ray Data
is not used: its stages compete for cores, and it gives no say in which rows are written together.
"""

import threading
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field

from librehps.errors import LibreHPSError
from librehps.runs.part_writer import PartWriter, Unit, UnitResult
from librehps.runs.ray.actor import Blind, is_readable
from librehps.runs.ray.block_shares import BlockShares
from librehps.runs.ray.connection import Head
from librehps.runs.ray.pool import Member, Pool
from librehps.runs.ray.shares import Shares
from librehps.storage.places import is_remote, shown

POLL_S = 0.2


@dataclass
class RayEngine:
    """An engine that scores on the actors of a pool; setting `stop` ends the run soon.

    `blocks` are scored while the source is being listed. One thread at a time may use the engine.
    """

    pool: Pool
    head: Head
    stop: threading.Event = field(default_factory=threading.Event)
    blocks: BlockShares = field(default_factory=BlockShares)

    def close(self) -> None:
        """End the actors."""
        # A call to a head that is gone would block.
        if not self.head.is_lost:
            self.pool.close()

    def run_blocks(self, is_listed: threading.Event) -> None:
        """Score blocks until the event is set, which leaves calls to `run`; raises EngineError."""
        while not is_listed.is_set():
            for result in self._step(self.blocks):
                self.blocks.progress.merge(result.progress)

    def run(self, units: list[Unit], writer: PartWriter) -> Generator[UnitResult, None, None]:
        """Yield a result for each part once it is written, in any order, and for late blocks.

        Raises EngineError.
        """
        shares = Shares.of(units, writer, self.blocks)
        while shares.is_open and not self.stop.is_set():
            yield from self._step(shares)

    def _step(self, shares: Shares | BlockShares) -> Iterator[UnitResult]:
        if self.head.check():
            self.pool.keep_up()
        _assign(shares, self.pool)
        for member, unit, answer in self.pool.wait(POLL_S):
            if result := self._taken(
                self.blocks if unit.is_block else shares, member, unit, answer
            ):
                yield result

    def _taken(
        self, shares: Shares | BlockShares, member: Member, unit: Unit, answer: object
    ) -> UnitResult | None:
        """Return the result of a unit that is written now, else None; raises an actor's error."""
        if isinstance(answer, UnitResult):
            self.pool.tell_warnings(member, answer.warnings)
            if not self._is_blind(member, answer):
                return shares.scored(answer)
            shares.reject(unit)
        elif answer is None:
            shares.give_back(unit)
        elif isinstance(answer, Blind):
            shares.give_back(unit)
            self.pool.give_up(member, answer.message)
        elif isinstance(answer, LibreHPSError):
            raise answer
        else:
            shares.died(unit)
        return None

    def _is_blind(self, member: Member, result: UnitResult) -> bool:
        """Return True if this process can read media that the actor could not; it is given up.

        An actor that can read the media when it is asked again is kept.
        """
        assert member.place is not None  # noqa: S101 - it has answered
        unread = result.unread
        if unread and member.place.node == self.pool.scoring.home:
            # The files are those of this process; the variables with credentials need not be.
            unread = tuple(place for place in unread if is_remote(place))
        here = [place for place in unread if is_readable(place)]
        if not here:
            return False
        if not self.pool.sees(member, here):
            lack = "cannot read" if is_remote(here[0]) else "cannot find"
            self.pool.give_up(member, f"{member.place.name} {lack} {shown(here[0])}")
        return True


def _assign(shares: Shares | BlockShares, pool: Pool) -> None:
    """Send units to the actors in turn: to idle ones, and to those that may queue one more."""
    ready, has_sent = pool.ready, True
    while has_sent:
        has_sent = False
        for member in ready:
            may_queue = member.may_queue(shares.number, len(ready))
            if unit := shares.take(not member.units, may_queue):
                pool.send(member, unit, shares.writer)
                has_sent = True
