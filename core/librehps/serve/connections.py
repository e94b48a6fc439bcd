"""The connections of a server: their number, and timeouts of headers and of unread answers."""

import asyncio
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from librehps.serve.guard import problem

# Open connections, below the usual limit of open files of a process.
MAX_CONNECTIONS = 800
# Connections that the system keeps until they are accepted, and those accepted before some are
# closed: with more, the process would run out of files.
BACKLOG, ACCEPTED_AT_ONCE = 2048, 32
# So many connections are closed at once for new ones, since the search takes a while.
CLOSED_AT_ONCE = 80
# Time to send the last answers of a server that gives up.
FINAL_ANSWERS_S = 1.0


class WatchedProtocol(H11Protocol):
    """An HTTP protocol that closes slow connections after `patience` seconds.

    The time counts from the first byte of a header, on a new connection from its start. A client
    that does not read its answer for this time is disconnected too. Of more than MAX_CONNECTIONS,
    the oldest that wait for their clients are closed, so that idle ones keep nobody out.
    """

    patience = 20.0
    # The time since which the connection waits for a request, or for the rest of it.
    _since = 0.0
    _late: asyncio.TimerHandle | None = None
    _unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._since = self.loop.time()
        if len(self.connections) > MAX_CONNECTIONS:
            self._make_room()
        if len(self.connections) > MAX_CONNECTIONS:
            transport.abort()
            return
        self._watch()

    def _make_room(self) -> None:
        """Close the connections that have waited longest for their clients: idle ones first."""
        others: Any = self.connections - {self}
        waiting = [other for other in others if other.waits_for_client]
        waiting.sort(key=lambda one: (one.conn.their_state is h11.SEND_BODY, one._since))
        for one in waiting[:CLOSED_AT_ONCE]:
            self.connections.discard(one)
            one.transport.abort()

    @property
    def waits_for_client(self) -> bool:
        """True if the client has sent no request yet, or only a part of one."""
        state = self.conn.their_state
        # A body that is not read, since there is no memory for it, is not the client's delay.
        return state is h11.IDLE or (state is h11.SEND_BODY and not self.flow.read_paused)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._since = self.loop.time()
        if self.conn.their_state is h11.SEND_BODY:
            # The request is answered: do not wait for the rest of its body.
            self.transport.close()
        # The start of the next request may already be here.
        if self.conn.trailing_data[0]:
            self._watch()

    def _unsupported_upgrade_warning(self) -> None:
        # The hint of the library, to install a package, is not for this server.
        return

    def send_400_response(self, msg: str) -> None:
        """Answer invalid HTTP, which no path sees, in the shape of all errors."""
        answer = problem(400, "InvalidHttp", "invalid HTTP request", {"Connection": "close"})
        head = h11.Response(status_code=400, headers=answer.raw_headers, reason=b"Bad Request")
        for event in (head, h11.Data(data=bytes(answer.body)), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event))
        self.transport.close()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unread = self._unread or self.loop.call_later(self.patience, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def connection_lost(self, exc: Exception | None) -> None:
        self._calm()
        self.resume_writing()
        super().connection_lost(exc)

    def _watch(self) -> None:
        """Start or stop the timeout of a header."""
        if self.conn.their_state is not h11.IDLE:
            self._calm()
        elif self._late is None:
            self._late = self.loop.call_later(self.patience, self.transport.abort)

    def _calm(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None


def configure(app: Any, read_timeout: float) -> uvicorn.Config:
    """Return the configuration of a server whose connections time out after `read_timeout` s."""
    return uvicorn.Config(
        app,
        backlog=ACCEPTED_AT_ONCE,
        http=type("Protocol", (WatchedProtocol,), {"patience": read_timeout}),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=max(1, round(read_timeout)),
        timeout_graceful_shutdown=round(FINAL_ANSWERS_S),
    )
