"""The connection to a Ray cluster: start or join it, and check that its head answers."""

import contextlib
import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from librehps.errors import EngineError
from librehps.runs.options import RayOptions

CONNECT_TIMEOUT_S = 5.0
OBJECT_STORE_BYTES = 128 << 20
# Longer than a restart of the head; Ray ends this process after 60 s without a head.
HEAD_TIMEOUT_S, HEAD_PROBE_INTERVAL_S = 45.0, 4.0
TOKEN_TIMEOUT_S = 30.0


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
        _check_answers(cluster.address)
        _choose_token(cluster.address)
    import ray

    _join(cluster.address)
    # Ray prints dead processes to stdout, some at the end; stdout is for data.
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):
        try:
            yield
        finally:
            ray.shutdown()


def _choose_token(address: str) -> None:
    """Set RAY_AUTH_MODE where a token exists: to `token` if the cluster needs the token.

    Nothing is changed where RAY_AUTH_MODE is set. Actors of a cluster without tokens could not call
    a process that uses one, and would die.
    """
    given = {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & os.environ.keys()
    has_token = given or Path("~/.ray/auth_token").expanduser().is_file()
    if has_token and "RAY_AUTH_MODE" not in os.environ:
        os.environ["RAY_AUTH_MODE"] = "disabled" if _is_open(address) else "token"


def _is_open(address: str) -> bool:
    """Return True if the cluster answers a process without a token."""
    # Ray reads its variables once, so that another process has to ask.
    command = [str(Path(sys.executable).with_name("ray")), "health-check"]
    if address != "auto":
        command += ["--address", address]
    environment = {**os.environ, "RAY_AUTH_MODE": "disabled"}
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        asked = subprocess.run(
            command, capture_output=True, env=environment, timeout=TOKEN_TIMEOUT_S, check=False
        )
        return asked.returncode == 0
    return False


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


@dataclass
class Head:
    """The head of the connected cluster, and the time of its last answer."""

    host: str
    port: int
    answered: float = field(default_factory=time.monotonic)
    probed: float = float("-inf")
    is_lost: bool = False

    @classmethod
    def of_cluster(cls) -> "Head":
        import ray

        host, _, port = ray.get_runtime_context().gcs_address.rpartition(":")
        return cls(host.strip("[]"), int(port))

    def check(self) -> bool:
        """Return True if the head was asked now and answers, so that a call to it will not block.

        Raises EngineError where the head does not answer; Ray would end this process silently.
        """
        now = time.monotonic()
        if now - self.probed < HEAD_PROBE_INTERVAL_S:
            return False
        self.probed = now
        try:
            _probe(self.host, self.port)
        except OSError:
            if time.monotonic() - self.answered <= HEAD_TIMEOUT_S:
                return False
            self.is_lost = True
            where = f"{self.host}:{self.port}"
            raise failed(f"the head at {where} does not answer") from None
        self.answered = time.monotonic()
        return True


def failed(error: Exception | str, before: str = "") -> EngineError:
    """Return an EngineError for a failure of Ray, with the last line of its message."""
    lines = [line for line in str(error).strip().splitlines() if line.strip()]
    reason = lines[-1].strip() if lines else type(error).__name__
    return EngineError(
        f"Ray failed: {before}{reason}",
        hint="Complete parts are kept. Continue with --resume.",
    )
