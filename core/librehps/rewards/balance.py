"""The servers of a client: requests in flight, and which servers are left out for a while."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from librehps.errors import RewardServerError

# A server that failed is asked for GET /readyz first, and has this long to answer.
PROBE_TIMEOUT_S = 5.0


@dataclass(eq=False)
class Server:
    """A server: its requests in flight, and what its answers have shown so far.

    It takes no request before `out_until`. `failures`: failed tries in a row, those at one time
    counted once. `problem`: of the last failed try. `reads_binary` and `reads_frames`: whether it
    takes binary bodies, and JSON with frames.
    """

    url: str
    in_flight: int = 0
    last_pick: int = 0
    failures: int = 0
    failed_at: float = 0.0
    out_until: float = 0.0
    problem: str = ""
    settings: Any = None
    reads_binary: bool = True
    reads_frames: bool = True


@dataclass
class Servers:
    """The servers of one client in one process; safe to use from many threads."""

    all: Sequence[Server]
    lock: Lock = field(default_factory=Lock)
    picks: int = 0

    @property
    def are_many(self) -> bool:
        """True for more than one server: only then is a failing server left out for others."""
        return len(self.all) > 1

    def pick(self, excluded: "dict[Server, float]", tried: set[Server]) -> Server | None:
        """Return the server with the fewest requests in flight, and count one more for it.

        `excluded` has the times before which this request must not go to a server. None: no server
        takes the request now.
        """
        now = time.monotonic()
        with self.lock:
            open_now = [s for s in self.all if s not in tried and self._opens(s, excluded) <= now]
            if not open_now:
                return None
            # Servers with as many requests take turns.
            server = min(open_now, key=lambda one: (one.in_flight, one.last_pick))
            self.picks += 1
            server.last_pick = self.picks
            server.in_flight += 1
            if self.is_suspect(server):
                # Others do not wait for the answer to GET /readyz.
                server.out_until = now + PROBE_TIMEOUT_S
            return server

    def is_suspect(self, server: Server) -> bool:
        """Return whether the server must first say that it is ready."""
        return self.are_many and server.failures > 0

    def wait(self, excluded: "dict[Server, float]") -> float:
        """Return the seconds until the first server may be asked again."""
        with self.lock:
            opens = min(self._opens(server, excluded) for server in self.all)
        return max(0.0, opens - time.monotonic())

    def release(self, server: Server) -> None:
        """Count one request in flight less."""
        with self.lock:
            server.in_flight -= 1

    def succeeded(self, server: Server) -> None:
        """Let all requests go to the server again."""
        with self.lock:
            server.failures, server.out_until = 0, 0.0

    def failed(self, server: Server, started: float, out_until: float) -> None:
        """Leave the server out until a time, after a try that started at `started`."""
        with self.lock:
            server.out_until = out_until
            if started >= server.failed_at:
                server.failures += 1
                server.failed_at = time.monotonic()

    def check_settings(self, server: Server, digest: Any, expected: Any) -> None:
        """Raise RewardServerError if an answer's settings are not `expected`."""
        with self.lock:
            server.settings = digest
            equal = [s.url for s in self.all if s is not server and s.settings == expected]
        if digest == expected:
            return
        if equal:
            raise RewardServerError(
                f"servers differ in settings: {equal[0]} has {expected}, {server.url} has "
                f"{digest}: their scores cannot be compared",
                hint="Start both servers with the same model and options.",
            )
        raise RewardServerError(
            f"{server.url}: server settings changed from {expected} to {digest}: "
            "old and new scores cannot be compared",
            hint="Make a new RewardClient to use the new settings.",
        )

    def _opens(self, server: Server, excluded: "dict[Server, float]") -> float:
        """Return the time from which a request may go to the server."""
        return max(excluded.get(server, 0.0), server.out_until if self.are_many else 0.0)
