"""The pace of large bodies: a slow body must not keep memory for which other bodies wait."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

# While bodies wait for memory, each body that has memory must arrive at this rate. It may fall
# behind for a while, also at its start.
MIN_BYTES_PER_S, BEHIND_S = 1 << 20, 2.0
CHECK_S = 0.5


@dataclass(eq=False)
class Arrival:
    """A body that arrives: its bytes so far, and when and with how many it last kept the pace."""

    deadline: asyncio.Timeout
    kept_at: float
    size: int = 0
    kept_size: int = 0
    is_too_slow: bool = False

    def check(self, now: float) -> None:
        """Let the body time out if it has been behind the pace for too long."""
        seconds = now - self.kept_at
        if self.size - self.kept_size >= MIN_BYTES_PER_S * seconds:
            self.kept_at, self.kept_size = now, self.size
        elif seconds > BEHIND_S and not self.deadline.expired():
            self.is_too_slow = True
            self.deadline.reschedule(now)


@dataclass
class Pace:
    """The bodies that arrive, held to the pace while others wait; use it on one event loop only."""

    arrivals: set[Arrival] = field(default_factory=set)
    _waiting: int = 0
    _timer: asyncio.TimerHandle | None = None

    @contextmanager
    def enforced(self) -> Iterator[None]:
        """Let bodies that are too slow time out during the block, which waits for memory."""
        self._waiting += 1
        if self._timer is None:
            loop = asyncio.get_running_loop()
            for arrival in self.arrivals:
                # Until now a slow body kept nobody waiting.
                arrival.kept_at, arrival.kept_size = loop.time(), arrival.size
            self._timer = loop.call_later(CHECK_S, self.check)
        try:
            yield
        finally:
            self._waiting -= 1

    def check(self) -> None:
        """Check all bodies, and again soon, unless none waits for memory any more."""
        self._timer = None
        if not self._waiting:
            return
        loop = asyncio.get_running_loop()
        for arrival in self.arrivals:
            arrival.check(loop.time())
        self._timer = loop.call_later(CHECK_S, self.check)
