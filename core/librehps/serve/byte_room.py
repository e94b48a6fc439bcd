"""A budget of memory for bodies, which large bodies wait for before they are read."""

import asyncio
from collections import deque
from dataclasses import dataclass, field


@dataclass
class ByteRoom:
    """A budget of `most` bytes; use it on one event loop only.

    Those who wait get bytes in the order of arrival, as long as `spare` bytes stay free for those
    who cannot wait. A body larger than `most - spare` would wait for ever.
    """

    most: int
    spare: int
    taken: int = 0
    waiting: deque[tuple[int, asyncio.Future[None]]] = field(default_factory=deque)

    async def take(self, size: int) -> None:
        """Wait for `size` bytes, to be given back with `give`; cancel to stop waiting."""
        if not self.waiting and self._fits(size):
            self.taken += size
            return
        turn = asyncio.get_running_loop().create_future()
        self.waiting.append((size, turn))
        try:
            await turn
        except asyncio.CancelledError:
            # The turn may have come at the same moment.
            self.give(0 if turn.cancelled() else size)
            raise

    def take_now(self, size: int) -> bool:
        """Take `size` bytes, from the spare ones too; return False if there are too few."""
        if self.taken + size > self.most:
            return False
        self.taken += size
        return True

    def give(self, size: int) -> None:
        """Give back `size` bytes, and let the next bodies have them."""
        self.taken -= size
        while self.waiting:
            wanted, turn = self.waiting[0]
            if not turn.done():
                if not self._fits(wanted):
                    return
                self.taken += wanted
                turn.set_result(None)
            self.waiting.popleft()

    def _fits(self, size: int) -> bool:
        return self.taken + size <= self.most - self.spare
