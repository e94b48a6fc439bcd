"""The pool of actors: as many as the nodes can hold, however nodes come and go.

An actor that finds no room waits in Ray's queue, where an autoscaler sees the demand.
"""

import contextlib
import logging
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from librehps.errors import EngineError
from librehps.files import counted
from librehps.runs.options import RayOptions
from librehps.runs.part_writer import PartWriter, Unit
from librehps.runs.ray.actor import Blind, Place, ScoreActor, Scoring
from librehps.runs.ray.cluster import GROW_TIMEOUT_S, ActorLayout, Notes, Tell, alive
from librehps.runs.ray.connection import failed

log = logging.getLogger("librehps")

# A process writes the parts of this many units at most, and holds a queue of about so many rows.
MAX_CALLS, QUEUED_ROWS = 16, 1024
# Time until a lack of room is said, and for a process to start; time that is waited for another
# node where one cannot read the files.
PATIENCE_S, STARTING_S, BLIND_TIMEOUT_S = 10.0, 90.0, 60.0
# Time that an actor has to look for files; time without an answer of any actor until it is said.
LOOK_TIMEOUT_S, QUIET_S = 30.0, 300.0
# Actors that may die in a row, without one unit being scored.
MAX_DEATHS = 16


@dataclass(eq=False)
class Member:
    """An actor of the pool: without a place it waits for room, then it loads, then it is ready."""

    actor: Any
    place: Place | None = None
    is_ready: bool = False
    blind: str | None = None
    # Ray cannot reach the actor: it is asked again until it answers or is dead.
    is_away: bool = False
    units: list[Unit] = field(default_factory=list)

    @property
    def can_score(self) -> bool:
        return self.is_ready and self.blind is None and not self.is_away

    def may_queue(self, waiting: int, ready: int) -> bool:
        """Return whether a further unit may be queued, of `waiting` ones for `ready` actors."""
        rows = sum(unit.rows for unit in self.units)
        is_alone = any(unit.deaths for unit in self.units)
        has_room = len(self.units) < 2 or (len(self.units) < MAX_CALLS and rows < QUEUED_ROWS)
        return has_room and not is_alone and waiting >= ready


@dataclass
class Pool:
    """The actors of a run."""

    cluster: RayOptions
    layout: ActorLayout
    scoring: Scoring
    tell: Tell
    members: list[Member] = field(default_factory=list)
    _calls: dict[Any, tuple[Member, Unit | None]] = field(default_factory=dict)
    # The writer of the last unit that was sent, and Ray's reference to it.
    _sent: tuple[PartWriter | None, Any] = (None, None)
    _warned: set[str] = field(default_factory=set)
    _deaths: int = 0
    # Since when which numbers of actors (that have no room, that can work) are the same.
    _short: tuple[int, int] = (0, 0)
    _since: float = 0.0
    _said: Notes = field(default_factory=lambda: Notes(lambda _: None))
    _answered: float = field(default_factory=time.monotonic)
    _quiet_notes: int = 0
    _losses: Notes = field(init=False)

    def __post_init__(self) -> None:
        self._losses = Notes(self.tell)

    @property
    def ready(self) -> list[Member]:
        return [member for member in self.members if member.can_score]

    def keep_up(self) -> None:
        """Start actors that are missing, drop those that no longer fit, and say what is missing.

        Raises EngineError where no actor can score, and none will soon.
        """
        nodes = alive()
        if self.cluster.actors is None:
            self._fit(len(nodes), max(1, self.layout.fits(nodes.values())))
        while len(self.members) < self.layout.actors:
            self._start()
        for member in self.members:
            if member.is_away and not any(pair == (member, None) for pair in self._calls.values()):
                self._calls[member.actor.place.remote()] = (member, None)
        waiting = [member for member in self.members if member.place is None]
        for member in waiting[: len(self.members) - self.layout.actors]:
            self._remove(member)
        self._check_sight()
        self._say_what_is_missing(nodes)
        self._say_if_quiet()

    def send(self, member: Member, unit: Unit, writer: PartWriter | None) -> None:
        """Let an actor score a unit."""
        import ray

        if writer is not self._sent[0]:
            # Once for all units: a request may name thousands of paths.
            self._sent = writer, ray.put(writer)
        member.units.append(unit)
        self._calls[member.actor.score.remote(unit, self._sent[1])] = (member, unit)

    def wait(self, seconds: float) -> Iterator[tuple[Member, Unit, Any]]:
        """Yield (member, unit, answer) of finished calls; the answer is a RayError after a death.

        Raises the error of an actor that cannot load, and EngineError if actors keep dying.
        """
        import ray

        if not self._calls:
            time.sleep(seconds)
            return
        calls = [*self._calls]
        done, _ = ray.wait(calls, num_returns=len(calls), timeout=0)
        done = done or ray.wait(calls, num_returns=1, timeout=seconds)[0]
        for call in done:
            if call not in self._calls:
                # The actor has been removed since.
                continue
            try:
                answer = ray.get(call)
            except ray.exceptions.ActorUnavailableError:
                self._calls.pop(call)[0].is_away = True
                continue
            except ray.exceptions.RayTaskError as error:
                raise _unforeseen(error, self._calls[call][0]) from error
            except ray.exceptions.RayError as error:
                yield from self._died(self._calls[call][0], error)
                continue
            member, unit = self._calls.pop(call)
            self._answered, self._quiet_notes = time.monotonic(), 0
            if unit is not None:
                self._deaths = 0
                member.units.remove(unit)
                yield member, unit, answer
            elif member.is_away:
                yield from self._back(member, answer)
            else:
                self._started(member, answer)

    def sees(self, member: Member, files: Iterable[Any]) -> bool:
        """Return whether an actor finds one of the files now, asked again; False if it hangs."""
        import ray

        try:
            return bool(ray.get(member.actor.sees.remote([*files]), timeout=LOOK_TIMEOUT_S))
        except ray.exceptions.GetTimeoutError:
            return False
        except ray.exceptions.RayError:
            # Its death will be told by the calls that it has.
            return True

    def give_up(self, member: Member, reason: str) -> None:
        """Use no actor of this one's node any more; the actors keep their places from new ones.

        Raises EngineError if there is no actor elsewhere.
        """
        assert member.place is not None  # noqa: S101 - it has answered
        here = [one for one in self.members if one.place and one.place.node == member.place.node]
        if member.blind is None:
            self.tell(f"{reason}; this node is not used")
        for one in here:
            one.blind = reason
        self._check_sight()

    def tell_warnings(self, member: Member, warnings: Iterable[str]) -> None:
        """Log the warnings of an actor that no actor has had before."""
        for text in warnings:
            if text not in self._warned:
                self._warned.add(text)
                log.warning("%s (on %s)", text, member.place.name if member.place else "a node")

    def _check_sight(self) -> None:
        """Raise EngineError where every actor is on a node that is not used."""
        reasons = [one.blind for one in self.members if one.blind]
        if reasons and len(reasons) == len(self.members):
            raise _blind(reasons[-1])

    def close(self) -> None:
        """End all actors."""
        for member in [*self.members]:
            self._remove(member)

    def _fit(self, nodes: int, actors: int) -> None:
        """Set the number of actors; note a change."""
        if actors != self.layout.actors:
            self.tell(
                f"{counted(nodes, 'node')} with room for {counted(actors, 'actor')} now "
                f"(before: {self.layout.actors})"
            )
            self.layout = replace(self.layout, actors=actors)

    def _start(self) -> None:
        import ray

        layout = self.layout
        kind = ray.remote(
            num_gpus=layout.num_gpus or None,
            num_cpus=layout.num_cpus,
            max_concurrency=MAX_CALLS + 2,
            max_restarts=0,
            scheduling_strategy="SPREAD",
        )(ScoreActor)
        member = Member(kind.remote(self.scoring))
        self.members.append(member)
        self._calls[member.actor.place.remote()] = (member, None)

    def _started(self, member: Member, answer: Any) -> None:
        """Go on with an actor that has found a place, or has loaded its model."""
        if isinstance(answer, Place):
            member.place = answer
            here = [one for one in self.members if one.place and one.place.node == answer.node]
            member.blind = next((one.blind for one in here if one.blind), None)
            if member.blind is None:
                workers = self.layout.workers(self.cluster.tasks, alive().get(answer.node, {}))
                self._calls[member.actor.load.remote(workers)] = (member, None)
        elif isinstance(answer, Blind):
            self.give_up(member, answer.message)
        elif answer is None:
            member.is_ready = True
        else:
            raise answer

    def _back(self, member: Member, place: Place) -> Iterator[tuple[Member, Unit, Any]]:
        """Use an actor again that could not be reached; yield the units whose calls were lost."""
        member.is_away = False
        if not member.is_ready:
            self._started(member, place)
        known = [unit for one, unit in self._calls.values() if one is member]
        for unit in [unit for unit in member.units if unit not in known]:
            member.units.remove(unit)
            yield member, unit, None

    def _died(self, member: Member, error: Exception) -> Iterator[tuple[Member, Unit, Any]]:
        """Yield the units of a dead actor, with the error, or with None if its node has died."""
        place = member.place
        if place is None or place.node in alive():
            self._remove(member)
            self._deaths += 1
            rows = sum(unit.rows for unit in member.units)
            self._losses.say(
                f"an actor on {place.name if place else 'a node'} died: its "
                f"{counted(rows, 'unfinished item')} will be scored again"
            )
            if self._deaths >= MAX_DEATHS:
                raise failed(error, f"{MAX_DEATHS} actors died in a row, the last: ")
            yield from ((member, unit, error) for unit in member.units)
            return
        lost = [one for one in self.members if one.place and one.place.node == place.node]
        units = [(one, unit) for one in lost for unit in one.units]
        rows = sum(unit.rows for _, unit in units)
        self.tell(
            f"{place.name} is gone with {counted(len(lost), 'actor')}: its "
            f"{counted(rows, 'unfinished item')} will be scored elsewhere"
        )
        for one in lost:
            self._remove(one)
        yield from ((one, unit, None) for one, unit in units)

    def _remove(self, member: Member) -> None:
        import ray

        self.members.remove(member)
        self._calls = {call: pair for call, pair in self._calls.items() if pair[0] is not member}
        with contextlib.suppress(ray.exceptions.RayError, ValueError):
            ray.kill(member.actor)

    def _say_what_is_missing(self, nodes: Mapping[str, Mapping[str, float]]) -> None:
        """Note, once for each state, that actors have no room; raise EngineError if it lasts."""
        now = time.monotonic()
        homeless = sum(1 for one in self.members if one.place is None)
        working = sum(1 for one in self.members if one.place and one.blind is None)
        if (homeless, working) != self._short:
            self._short, self._since, self._said = (homeless, working), now, Notes(self.tell)
        lasted = now - self._since
        if not homeless or lasted < (STARTING_S if self._may_be_starting(nodes) else PATIENCE_S):
            return
        gpus, cores = (sum(n.get(k, 0) for n in nodes.values()) for k in ("GPU", "CPU"))
        lack = (
            f"{homeless} of {counted(len(self.members), 'actor')} found no room: each needs "
            f"{self.layout.need}; the cluster has {counted(len(nodes), 'node')}, {gpus:g} GPUs "
            f"and {cores:g} cores"
        )
        if working:
            self._said.say_once(lack)
            return
        reason = next((one.blind for one in self.members if one.blind), None)
        if reason and lasted > BLIND_TIMEOUT_S:
            raise _blind(reason)
        if lasted > GROW_TIMEOUT_S:
            raise failed(lack)
        self._said.say(f"waiting: {lack}")

    def _say_if_quiet(self) -> None:
        """Note what the actors do, if none has answered for long."""
        minutes = int(time.monotonic() - self._answered) // 60
        placed = [one for one in self.members if one.place and not one.blind]
        if not placed or minutes * 60 < QUIET_S * (self._quiet_notes + 1):
            return
        self._quiet_notes += 1
        away = sum(1 for one in placed if one.is_away)
        loading = sum(1 for one in placed if not one.is_away and not one.is_ready)
        rows = sum(unit.rows for one in placed for unit in one.units)
        self.tell(
            f"no actor has answered for {minutes} minutes: {loading} load the model, {away} cannot "
            f"be reached, {len(placed) - loading - away} score {counted(rows, 'item')}"
        )

    def _may_be_starting(self, nodes: Mapping[str, Mapping[str, float]]) -> bool:
        """Return True if Ray may have set resources aside for every actor."""
        import ray

        name, each = self.layout.each
        total = sum(node.get(name, 0.0) for node in nodes.values())
        used = total - ray.available_resources().get(name, 0.0)
        return bool(used + 1e-6 >= each * len(self.members))


def _blind(reason: str) -> EngineError:
    return EngineError(
        f"Ray: {reason}",
        hint="Give every node the same files at the same paths, and the processes of Ray the "
        "variables with the credentials, then continue with --resume.",
    )


def _unforeseen(error: Exception, member: Member) -> EngineError:
    """Return an EngineError with the file, line and node of an unexpected error."""
    lines = re.findall(r'File "([^"]+)", line (\d+)', str(error)) or [("?", "?")]
    file, line = lines[-1]
    node = member.place.name if member.place else "a node"
    return failed(f"{str(error).strip().splitlines()[-1]} ({Path(file).name}:{line} on {node})")
