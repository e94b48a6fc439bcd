"""Ray itself: started or joined, what it has room for, and whether it is still there."""

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
# How long an autoscaling cluster is given to grow.
GROW_TIMEOUT_S = 900.0
POLL_S, NOTE_INTERVAL_S = 2.0, 30.0
# A head that is started again needs a while; Ray ends this process after 60 s without one.
HEAD_TIMEOUT_S, HEAD_PROBE_INTERVAL_S = 45.0, 4.0

Tell = Callable[[str], None]


@dataclass(frozen=True)
class ActorLayout:
    """How the model is spread: actors, and what each of them is given."""

    actors: int
    num_gpus: float
    num_cpus: float
    threads: int | None


class _NoRoomError(UsageError):
    """The cluster lacks what was asked, and might yet grow."""


@contextmanager
def connected(cluster: RayOptions) -> Iterator[None]:
    """Ray, started or joined, and silent; left at the end. Raises EngineError."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_DATA_LOG_LEVEL", "CRITICAL")
    # Of the parts in C++, which write to stderr whatever Python is told.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    # A thread that asks for more after the end would start a cluster of its own.
    os.environ["RAY_ENABLE_AUTO_CONNECT"] = "0"
    if cluster.address is not None:
        _bring_token()
        _check_answers(cluster.address)
    import ray

    _join(cluster.address)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = context.print_on_execution_start = False
    # Ray tells stdout of each process that died, some of it only at the end; stdout is for data.
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):
        try:
            yield
        finally:
            ray.shutdown()


def _bring_token() -> None:
    """Be let in where a token is at hand, as `ray start` is."""
    given = {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & os.environ.keys()
    if given or Path("~/.ray/auth_token").expanduser().is_file():
        os.environ.setdefault("RAY_AUTH_MODE", "token")


def _check_answers(address: str) -> None:
    """Raise EngineError where nobody listens: Ray itself would try for a quarter of an hour."""
    host, _, port = address.rpartition(":")
    if host and port.isdigit():
        try:
            _probe(host.strip("[]"), int(port))
        except (OSError, OverflowError) as error:
            raise _unjoined(f"joined at {address}", error) from error


def _probe(host: str, port: int) -> None:
    socket.create_connection((host, port), timeout=CONNECT_TIMEOUT_S).close()


def _join(address: str | None) -> None:
    import ray

    options: dict[str, Any] = {"include_dashboard": False} if address is None else {}
    quiet = {"log_to_driver": False, "logging_level": logging.CRITICAL}
    try:
        with _unheard():
            ray.init(address=address or "local", **quiet, **options)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        raise _unjoined("started here" if address is None else f"joined at {address}", error) from (
            error
        )


def _unjoined(how: str, error: Exception) -> EngineError:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    return EngineError(
        f"Ray cannot be {how}: {reason}",
        hint="--ray-address names the head of a cluster that this machine is a node of "
        "(`ray status`); one that asks for a token needs RAY_AUTH_MODE=token and the token.",
    )


@contextmanager
def _unheard() -> Iterator[None]:
    """Nothing reaches stderr within: Ray's C++ parts say there how much they will say."""
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
    """What the cluster has room for; one that was joined may take a while to grow.

    Raises UsageError where it lacks what was asked.
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
    """Resources of each node that is alive."""
    import ray

    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def spread(cluster: RayOptions, device: str, nodes: Sequence[Mapping[str, float]]) -> ActorLayout:
    """The layout on nodes with these resources; raises UsageError where they lack room."""
    gpus, cpus = (sum(node.get(name, 0.0) for node in nodes) for name in ("GPU", "CPU"))
    if not gpus and not cpus:
        raise _NoRoomError("the cluster has no node with cores or GPUs")
    each = cluster.num_gpus
    if each is None:
        each = 1.0 if gpus and device != "cpu" else 0.0
    if each:
        # Of each node by itself, since an actor lives on one; a share of 0.1 fits ten times.
        room = sum(int(node.get("GPU", 0.0) / each + 1e-6) for node in nodes)
        actors = cluster.actors or room
        if actors > room or not actors:
            raise _NoRoomError(
                f"{max(1, actors)} actors of {each:g} GPUs were asked, the cluster has {gpus:g} "
                f"GPUs: room for {room}"
            )
        return ActorLayout(actors, each, 0.0, None)
    hosts = sum(1 for node in nodes if node.get("CPU"))
    actors = cluster.actors or max(hosts, int(cpus // ACTOR_CORES))
    if actors > cpus:
        raise _NoRoomError(f"{actors} actors were asked, the cluster has {cpus:g} cores")
    # Something, so that actors keep off nodes without cores; on a single one nothing, since
    # decoding could not have the core then that an actor leaves idle now and then.
    share = 0.0 if hosts == len(nodes) == 1 else min(1.0, max(0.0, cpus - 1) / actors)
    threads = max(1, int(cpus // actors))
    return ActorLayout(actors, 0.0, int(share * 100) / 100, min(threads, default_workers()))


def foresee(
    settings: Callable[[], Settings], layout: ActorLayout, tell: Tell = lambda _: None
) -> Settings:
    """Return the settings that a node of the cluster has; raises what `settings` raises there."""
    import ray

    ask = ray.remote(num_gpus=layout.num_gpus, num_cpus=0, max_retries=3)(_answer)
    words = _Notes(tell)
    try:
        asked = ask.remote(settings)
        while not ray.wait([asked], timeout=POLL_S)[0]:
            if words.seconds > NOTE_INTERVAL_S / 3 and layout.num_gpus:
                free = ray.available_resources().get("GPU", 0.0)
                words.say(f"waiting for {layout.num_gpus:g} of the GPUs: {free:g} are free")
        answer = ray.get(asked)
    except ray.exceptions.RayError as error:
        raise failed(error) from error
    if isinstance(answer, Settings):
        return answer
    raise answer


def _answer(settings: Callable[[], Settings]) -> Settings | LibreHPSError:
    # As a value, since Ray would wrap what is raised.
    try:
        return settings()
    except LibreHPSError as error:
        return error


@dataclass
class Head:
    """The head of the cluster that is connected, and when it last answered."""

    host: str
    port: int
    answered: float = field(default_factory=time.monotonic)
    looked: float = field(default_factory=time.monotonic)

    @classmethod
    def of_cluster(cls) -> "Head":
        import ray

        host, _, port = ray.get_runtime_context().gcs_address.rpartition(":")
        return cls(host.strip("[]"), int(port))

    def check(self) -> None:
        """Raise EngineError where the head is gone; Ray would just end this process."""
        now = time.monotonic()
        if now - self.looked < HEAD_PROBE_INTERVAL_S:
            return
        self.looked = now
        with contextlib.suppress(OSError):
            _probe(self.host, self.port)
            self.answered = time.monotonic()
        if time.monotonic() - self.answered > HEAD_TIMEOUT_S:
            raise failed(f"its head at {self.host}:{self.port} does not answer any more")


@dataclass
class _Notes:
    """Passes on a note while something is waited for, every NOTE_INTERVAL_S."""

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
    """Return the error of a failure of Ray itself, with the last line of its message."""
    lines = [line for line in str(error).strip().splitlines() if line.strip()]
    reason = lines[-1].strip() if lines else type(error).__name__
    return EngineError(
        f"Ray stopped: {reason}", hint="Whole parts are kept; --resume goes on with the others."
    )
