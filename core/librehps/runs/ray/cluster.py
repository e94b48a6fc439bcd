"""The Ray cluster: connect to it, lay out actors on its nodes, and check that its head answers."""

import contextlib
import logging
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from librehps.engine.engine import default_workers
from librehps.errors import EngineError, LibreHPSError, UsageError
from librehps.runs.options import RayOptions
from librehps.settings import Settings

# Cores that one actor can keep busy with a model on the CPU.
ACTOR_CORES = 8
CONNECT_TIMEOUT_S = 5.0
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


class _NoRoomError(UsageError):
    """A lack of GPUs or cores that disappears if the cluster adds nodes."""


@contextmanager
def connected(cluster: RayOptions) -> Iterator[None]:
    """Return a context manager that starts or joins Ray, and disconnects; raises EngineError."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_DATA_LOG_LEVEL", "CRITICAL")
    # Ray's C++ parts write to stderr, whatever Python's logging level is.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    # Else a thread that calls Ray after the end would start a new cluster.
    os.environ["RAY_ENABLE_AUTO_CONNECT"] = "0"
    if cluster.address is not None:
        _use_token()
        _check_answers(cluster.address)
    import ray

    _join(cluster.address)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = context.print_on_execution_start = False
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

    options: dict[str, Any] = {"include_dashboard": False} if address is None else {}
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
    """Return the layout of actors; waits for a cluster that was joined to add nodes.

    Raises UsageError where the cluster has too few GPUs or cores.
    """
    words = _Notes(tell)
    while True:
        try:
            return spread(cluster, device, _nodes())
        except _NoRoomError as lack:
            if cluster.address is None or words.seconds > GROW_TIMEOUT_S:
                raise
            words.say(f"waiting: {lack}")
        time.sleep(POLL_S)


def _nodes() -> list[dict[str, float]]:
    """Return the resources of each node that is alive."""
    import ray

    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def spread(cluster: RayOptions, device: str, nodes: Sequence[Mapping[str, float]]) -> ActorLayout:
    """Return the layout on nodes with these resources; raises UsageError if none fits."""
    gpus, cpus = (sum(node.get(name, 0.0) for node in nodes) for name in ("GPU", "CPU"))
    if not gpus and not cpus:
        raise _NoRoomError("the cluster has no node with cores or GPUs")
    each = cluster.num_gpus
    if each is None:
        each = 1.0 if gpus and device != "cpu" else 0.0
    if each:
        # Counted per node, since an actor runs on one node; a share of 0.1 fits ten times.
        room = sum(int(node.get("GPU", 0.0) / each + 1e-6) for node in nodes)
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
    # More than 0 keeps actors off nodes without cores. On a single node 0, so that decoding can
    # use the core of an actor that is idle.
    share = 0.0 if hosts == len(nodes) == 1 else min(1.0, max(0.0, cpus - 1) / actors)
    threads = max(1, int(cpus // actors))
    return ActorLayout(actors, 0.0, int(share * 100) / 100, min(threads, default_workers()))


def foresee(
    settings: Callable[[], Settings], layout: ActorLayout, tell: Tell = lambda _: None
) -> Settings:
    """Return the settings on a node of the cluster; raises the error of `settings` on that node."""
    import ray

    ask = ray.remote(num_gpus=layout.num_gpus, num_cpus=0, max_retries=3)(_answer)
    words = _Notes(tell)
    try:
        asked = ask.remote(settings)
        while not ray.wait([asked], timeout=POLL_S)[0]:
            if words.seconds > NOTE_INTERVAL_S / 3 and layout.num_gpus:
                free = ray.available_resources().get("GPU", 0.0)
                words.say(f"waiting for {layout.num_gpus:g} GPUs: {free:g} are free")
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
class _Notes:
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
