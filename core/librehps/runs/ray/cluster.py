"""The layout of actors on the nodes of a Ray cluster, and the settings of a model there."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from librehps.errors import LibreHPSError, UsageError
from librehps.runs.options import RayOptions
from librehps.runs.ray.connection import failed
from librehps.settings import Settings

# Cores that one actor can keep busy with a model on the CPU.
ACTOR_CORES = 8
# Time for an autoscaling cluster to add nodes.
GROW_TIMEOUT_S = 900.0
POLL_S, NOTE_INTERVAL_S = 2.0, 30.0

Tell = Callable[[str], None]


@dataclass(frozen=True)
class ActorLayout:
    """The number of actors, and the GPUs, cores and torch threads of each actor."""

    actors: int
    num_gpus: float
    num_cpus: float
    threads: int | None

    @property
    def each(self) -> tuple[str, float]:
        """Ray's name of the resource that limits the number of actors, and the amount of each."""
        return ("GPU", self.num_gpus) if self.num_gpus else ("CPU", self.num_cpus)

    @property
    def need(self) -> str:
        """The resources of one actor, in words."""
        name, number = self.each
        noun = "GPU" if name == "GPU" else "core"
        return f"{number:g} {noun}{'' if number == 1 else 's'}"

    def fits(self, nodes: Iterable[Mapping[str, float]]) -> int:
        """Return the number of actors that fit on nodes with these resources."""
        name, each = self.each
        # Counted per node, since an actor runs on one node; a share of 0.1 fits ten times.
        return sum(int(node.get(name, 0.0) / each + 1e-6) for node in nodes)

    def workers(self, tasks: int | None, node: Mapping[str, float]) -> int | None:
        """Return the decode threads of an actor: its share of `tasks`, else of its node's cores.

        None if Ray counts no cores there.
        """
        if tasks is not None:
            return max(1, tasks // self.actors)
        cores, actors = int(node.get("CPU", 0.0)), self.fits([node])
        return max(1, cores // actors) if cores and actors else None


class _NoRoomError(UsageError):
    """A lack of GPUs or cores that disappears if the cluster adds nodes."""


def find_layout(cluster: RayOptions, device: str, tell: Tell = lambda _: None) -> ActorLayout:
    """Return the layout of actors; on a cluster that was joined, actors may wait for room.

    Raises UsageError where Ray was started here and has too few GPUs or cores.
    """
    nodes = [*alive().values()]
    try:
        return spread(cluster, device, nodes)
    except _NoRoomError as lack:
        if cluster.address is None:
            raise
        tell(f"waiting for nodes: {lack}")
    if cluster.num_gpus:
        return ActorLayout(cluster.actors or 1, cluster.num_gpus, 0.0, None)
    return ActorLayout(cluster.actors or 1, 0.0, 1.0, 1)


def alive() -> dict[str, dict[str, float]]:
    """Return the resources of each node that is alive, by Ray's id of the node."""
    import ray

    return {node["NodeID"]: node["Resources"] for node in ray.nodes() if node["Alive"]}


def spread(cluster: RayOptions, device: str, nodes: Sequence[Mapping[str, float]]) -> ActorLayout:
    """Return the layout on nodes with these resources; raises UsageError if none fits."""
    gpus, cpus = (sum(node.get(name, 0.0) for node in nodes) for name in ("GPU", "CPU"))
    if not gpus and not cpus:
        raise _NoRoomError("the cluster has no node with cores or GPUs")
    each = cluster.num_gpus
    if each is None:
        each = 1.0 if gpus and device != "cpu" else 0.0
    if each:
        room = ActorLayout(1, each, 0.0, None).fits(nodes)
        actors = cluster.actors or room
        if actors > room or not actors:
            raise _NoRoomError(
                f"{max(1, actors)} actors with {each:g} GPUs each do not fit: the cluster has "
                f"{gpus:g} GPUs, for {room} actors"
            )
        return ActorLayout(actors, each, 0.0, None)
    hosts = sum(1 for node in nodes if node.get("CPU"))
    actors = cluster.actors or max(hosts, int(cpus // ACTOR_CORES))
    if actors > cpus:
        raise _NoRoomError(f"{actors} actors do not fit: the cluster has {cpus:g} cores")
    return _on_cores(actors, nodes)


def _on_cores(actors: int, nodes: Sequence[Mapping[str, float]]) -> ActorLayout:
    """Return the layout that gives each of the actors as many cores as possible."""
    most = max(1, int(sum(node.get("CPU", 0.0) for node in nodes) // actors))
    layouts = (ActorLayout(actors, 0.0, float(n), n) for n in range(most, 0, -1))
    return next(one for one in layouts if one.fits(nodes) >= actors or one.threads == 1)


def foresee(
    settings: Callable[[], Settings], layout: ActorLayout, tell: Tell = lambda _: None
) -> Settings:
    """Return the settings on a node of the cluster; raises the error of `settings` on that node."""
    import ray

    ask = ray.remote(num_gpus=layout.num_gpus, num_cpus=0, max_retries=3)(_answer)
    words = Notes(tell)
    try:
        asked = ask.remote(settings)
        while not ray.wait([asked], timeout=POLL_S)[0]:
            lack = "waiting for a process of Ray"
            if layout.num_gpus:
                free = ray.available_resources().get("GPU", 0.0)
                lack = f"waiting for {layout.need}: {free:g} GPUs are free"
            if words.seconds > GROW_TIMEOUT_S:
                raise failed(lack)
            if words.seconds > NOTE_INTERVAL_S / 3:
                words.say(lack)
        answer = ray.get(asked)
    except ray.exceptions.RayError as error:
        raise failed(error) from error
    if isinstance(answer, Settings):
        return answer
    raise answer


def _answer(settings: Callable[[], Settings]) -> Settings | LibreHPSError:
    # Returned, since Ray would wrap a raised error.
    try:
        return settings()
    except LibreHPSError as error:
        return error


@dataclass
class Notes:
    """The notes during a wait, at most one every NOTE_INTERVAL_S."""

    tell: Tell
    started: float = field(default_factory=time.monotonic)
    said: float = float("-inf")

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started

    def say_once(self, words: str) -> None:
        if self.said == float("-inf"):
            self.say(words)

    def say(self, words: str) -> None:
        if time.monotonic() - self.said >= NOTE_INTERVAL_S:
            self.said = time.monotonic()
            self.tell(words)
