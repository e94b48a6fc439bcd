"""The connections of a server: their number, and timeouts of headers and of unread answers."""

import asyncio
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from librehps.serve.guard import problem

# Open connections, below the usual limit of open files of a process.
MAX_CONNECTIONS = 800
# Time to send the last answers of a server that gives up.
FINAL_ANSWERS_S = 1.0


class WatchedProtocol(H11Protocol):
    """An HTTP protocol that closes slow connections after `patience` seconds.

    The time counts from the first byte of a header, on a new connection from its start. A client
    that does not read its answer for this time is disconnected too.
    """

    patience = 20.0
    _late: asyncio.TimerHandle | None = None
    _unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > MAX_CONNECTIONS:
            transport.abort()
            return
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.conn.their_state is h11.SEND_BODY:
            # The request is answered: do not wait for the rest of its body.
            self.transport.close()
        # The start of the next request may already be here.
        if self.conn.trailing_data[0]:
            self._watch()

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
