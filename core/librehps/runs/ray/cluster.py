"""The Ray cluster: connect to it, lay out actors on its nodes, and check that its head answers."""

import contextlib
import logging
import os
import socket
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from librehps.errors import EngineError, LibreHPSError, UsageError
from librehps.runs.options import RayOptions
from librehps.settings import Settings

# Cores that one actor can keep busy with a model on the CPU.
ACTOR_CORES = 8
CONNECT_TIMEOUT_S = 5.0
OBJECT_STORE_BYTES = 128 << 20
# Time for an autoscaling cluster to add nodes.
GROW_TIMEOUT_S = 900.0
POLL_S, NOTE_INTERVAL_S = 2.0, 30.0
# Longer than a restart of the head; Ray ends this process after 60 s without a head.
HEAD_TIMEOUT_S, HEAD_PROBE_INTERVAL_S = 45.0, 4.0

Tell = Callable[[str], None]


@dataclass(frozen=True)
class ActorLayout:
    """The number of actors, and the GPUs, cores and torch threads of each actor."""

    actors: int
    num_gpus: float
    num_cpus: float
    threads: int | None

    @property
    def need(self) -> str:
        """The resources of one actor, in words."""
        number, noun = (self.num_gpus, "GPU") if self.num_gpus else (self.num_cpus, "core")
        return f"{number:g} {noun}{'' if number == 1 else 's'}"

    def fits(self, nodes: Iterable[Mapping[str, float]]) -> int:
        """Return the number of actors that fit on nodes with these resources."""
        name, each = ("GPU", self.num_gpus) if self.num_gpus else ("CPU", self.num_cpus)
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


def resolved(cluster: RayOptions) -> RayOptions:
    """Return the options with the address from RAY_ADDRESS if none is given, and without `local`.

    `ray job submit` sets this variable. Raises UsageError for an unsupported address.
    """
    address = cluster.address or os.environ.get("RAY_ADDRESS") or "local"
    return replace(cluster, address=None if address == "local" else address)


def home_node() -> str:
    """Return Ray's id of the node that this process is connected to."""
    import ray

    node: str = ray.get_runtime_context().get_node_id()
    return node


@contextmanager
def connected(cluster: RayOptions) -> Iterator[None]:
    """Return a context manager that starts or joins Ray, and disconnects; raises EngineError."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Ray's C++ parts write to stderr, whatever Python's logging level is.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    # Else a thread that calls Ray after the end would start a new cluster.
    os.environ["RAY_ENABLE_AUTO_CONNECT"] = "0"
    if cluster.address is not None:
        _use_token()
        _check_answers(cluster.address)
    import ray

    _join(cluster.address)
    # Ray prints dead processes to stdout, some at the end; stdout is for data.
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):
        try:
            yield
        finally:
            ray.shutdown()


def _use_token() -> None:
    """Turn on token authentication where a token is set, like `ray start`."""
    given = {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & os.environ.keys()
    if given or Path("~/.ray/auth_token").expanduser().is_file():
        os.environ.setdefault("RAY_AUTH_MODE", "token")


def _check_answers(address: str) -> None:
    """Raise EngineError where no process listens at the address; Ray would retry for 15 minutes."""
    host, _, port = address.rpartition(":")
    if host and port.isdigit():
        try:
            _probe(host.strip("[]"), int(port))
        except (OSError, OverflowError) as error:
            raise _connection_error(f"join at {address}", error) from error


def _probe(host: str, port: int) -> None:
    socket.create_connection((host, port), timeout=CONNECT_TIMEOUT_S).close()


def _join(address: str | None) -> None:
    import ray

    options: dict[str, Any] = {}
    if address is None:
        # Only small results pass through Ray's memory.
        options = {"include_dashboard": False, "object_store_memory": OBJECT_STORE_BYTES}
    quiet = {"log_to_driver": False, "logging_level": logging.CRITICAL}
    try:
        with _silent_stderr():
            ray.init(address=address or "local", **quiet, **options)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        action = "start" if address is None else f"join at {address}"
        raise _connection_error(action, error) from error


def _connection_error(action: str, error: Exception) -> EngineError:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    return EngineError(
        f"Ray: cannot {action}: {reason}",
        hint="Run on a node of the cluster (check with `ray status`) and give the address of its "
        "head. If it needs a token, set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN.",
    )


@contextmanager
def _silent_stderr() -> Iterator[None]:
    """Return a context manager that drops stderr, to which Ray's C++ parts print at the start."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


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
            lack = f"waiting for {layout.need}"
            if layout.num_gpus:
                lack += f": {ray.available_resources().get('GPU', 0.0):g} GPUs are free"
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
class Head:
    """The head of the connected cluster, and the time of its last answer."""

    host: str
    port: int
    answered: float = field(default_factory=time.monotonic)
    probed: float = field(default_factory=time.monotonic)

    @classmethod
    def of_cluster(cls) -> "Head":
        import ray

        host, _, port = ray.get_runtime_context().gcs_address.rpartition(":")
        return cls(host.strip("[]"), int(port))

    def check(self) -> None:
        """Raise EngineError where the head does not answer; Ray would end this process silently."""
        now = time.monotonic()
        if now - self.probed < HEAD_PROBE_INTERVAL_S:
            return
        self.probed = now
        with contextlib.suppress(OSError):
            _probe(self.host, self.port)
            self.answered = time.monotonic()
        if time.monotonic() - self.answered > HEAD_TIMEOUT_S:
            raise failed(f"the head at {self.host}:{self.port} does not answer")


@dataclass
class Notes:
    """The notes during a wait, at most one every NOTE_INTERVAL_S."""

    tell: Tell
    started: float = field(default_factory=time.monotonic)
    said: float = float("-inf")

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started

    def say(self, words: str) -> None:
        if time.monotonic() - self.said >= NOTE_INTERVAL_S:
            self.said = time.monotonic()
            self.tell(words)


def failed(error: Exception | str) -> EngineError:
    """Return an EngineError for a failure of Ray, with the last line of its message."""
    lines = [line for line in str(error).strip().splitlines() if line.strip()]
    reason = lines[-1].strip() if lines else type(error).__name__
    return EngineError(
        f"Ray failed: {reason}", hint="Complete parts are kept. Continue with --resume."
    )
