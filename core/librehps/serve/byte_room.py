"""A budget of memory that large bodies wait for before they are read."""

import asyncio
from collections import deque
from dataclasses import dataclass, field


@dataclass
class ByteRoom:
    """A budget of `most` bytes, given out in the order of arrival; use it on one event loop only.

    A body larger than `most` would wait for ever.
    """

    most: int
    taken: int = 0
    waiting: deque[tuple[int, asyncio.Future[None]]] = field(default_factory=deque)

    async def take(self, size: int) -> None:
        """Wait for `size` bytes, to be given back with `give`; cancel to stop waiting."""
        if not self.waiting and self.taken + size <= self.most:
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

    def give(self, size: int) -> None:
        """Give back `size` bytes, and let the next bodies have them."""
        self.taken -= size
        while self.waiting:
            wanted, turn = self.waiting[0]
            if not turn.done():
                if self.taken + wanted > self.most:
                    return
                self.taken += wanted
                turn.set_result(None)
            self.waiting.popleft()
