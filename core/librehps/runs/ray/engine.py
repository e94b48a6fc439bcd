"""The engine on a Ray cluster: actors score the parts of the output and write them.

This process sends (part, start, end) and receives counts; it holds neither items nor rows. Ray Data
is not used: its stages compete for cores, and it gives no say in which rows are written together.
"""

import os
import threading
from collections.abc import Generator
from dataclasses import dataclass, field

from librehps.errors import LibreHPSError
from librehps.runs.options import RayOptions
from librehps.runs.part_writer import PartWriter, Unit, UnitResult
from librehps.runs.ray.actor import Blind, Scoring
from librehps.runs.ray.cluster import ActorLayout, Tell
from librehps.runs.ray.connection import Head
from librehps.runs.ray.pool import Member, Pool
from librehps.runs.ray.shares import Shares

POLL_S = 0.2


@dataclass
class RayEngine:
    """An engine that scores parts on the connected cluster; setting `stop` ends the run soon."""

    cluster: RayOptions
    layout: ActorLayout
    scoring: Scoring
    tell: Tell
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self, units: list[Unit], writer: PartWriter) -> Generator[UnitResult, None, None]:
        """Yield a result for each part once it is written, in any order; raises EngineError."""
        shares, head = Shares.of(units, writer), Head.of_cluster()
        pool = Pool(self.cluster, self.layout, self.scoring, self.tell)
        try:
            while shares.is_open and not self.stop.is_set():
                if head.check():
                    pool.keep_up()
                _assign(shares, pool)
                for member, unit, answer in pool.wait(POLL_S):
                    if result := self._taken(shares, pool, member, unit, answer):
                        yield result
        finally:
            # A call to a head that is gone would block.
            if not head.is_lost:
                pool.close()

    def _taken(
        self, shares: Shares, pool: Pool, member: Member, unit: Unit, answer: object
    ) -> UnitResult | None:
        """Return the result of a part that is written now, else None; raises an actor's error."""
        if isinstance(answer, UnitResult):
            if not self._is_blind(pool, member, answer):
                return shares.scored(answer)
            shares.give_back(unit)
        elif answer is None:
            shares.give_back(unit)
        elif isinstance(answer, Blind):
            shares.give_back(unit)
            pool.give_up(member, answer.message)
        elif isinstance(answer, LibreHPSError):
            raise answer
        else:
            shares.died(unit)
        return None

    def _is_blind(self, pool: Pool, member: Member, result: UnitResult) -> bool:
        """Return True if this node has media that the actor did not find; the actor is given up.

        An actor that finds the media when it is asked again is kept.
        """
        assert member.place is not None  # noqa: S101 - it has answered
        here = [file for file in result.not_found if os.path.exists(file)]  # noqa: PTH110
        if not here or member.place.node == self.scoring.home:
            return False
        if not pool.sees(member, here):
            pool.give_up(member, f"{member.place.name} cannot find {here[0]}")
        return True


def _assign(shares: Shares, pool: Pool) -> None:
    """Send units to the actors in turn: to idle ones, and to those that may queue one more."""
    ready, has_sent = pool.ready, True
    while has_sent:
        has_sent = False
        for member in ready:
            may_queue = member.may_queue(len(shares.waiting), len(ready))
            if unit := shares.take(not member.units, may_queue):
                pool.send(member, unit)
                has_sent = True
