"""The server process: connection limits, header timeouts and a graceful shutdown."""

import asyncio
import gc
import logging
import os
import socket
from collections.abc import Callable
from dataclasses import replace
from types import FrameType
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from librehps.decide.probability import Platt
from librehps.errors import ServeError
from librehps.scorer import LibreHPS
from librehps.serve.app import Service, make_app
from librehps.serve.options import ServeOptions, listen

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


class DrainingServer(uvicorn.Server):
    """A server that a signal stops once all requests are answered, and a second signal at once."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service
        self.is_whole, self.hint = True, "Raise --drain-s."

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        gate = self._service.gate
        if gate.draining:
            self.is_whole, self.hint = gate.active == 0, "A second signal stops the server at once."
            self.should_exit = True
            self._hurry()
        else:
            gate.drain()

    async def on_tick(self, counter: int) -> bool:
        ending = await super().on_tick(counter)
        gate = self._service.gate
        if ending or not gate.draining:
            return ending
        if gate.active == 0:
            return True
        if gate.drained_for < self._service.limits.drain:
            return False
        self.is_whole = False
        gate.give_up()
        if self._service.queue is not None:
            self._service.queue.abandon()
        await asyncio.sleep(FINAL_ANSWERS_S)
        self._hurry()
        return True

    def _hurry(self) -> None:
        """Stop without waiting for connections or decoding threads."""
        self.force_exit = True
        # uvicorn would log the closed connections as errors of the app.
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL + 1)


def serve(
    scorer: LibreHPS,
    options: ServeOptions,
    calibrator: Platt | None = None,
    tell: Callable[[str], None] = lambda _: None,
    listener: socket.socket | None = None,
) -> None:
    """Serve until a signal; `tell` receives the URL, `listener` is a socket from `listen`.

    Raises UsageError if the address cannot be used, ServeError if requests were left unanswered.
    """
    listener = listener or listen(options)
    host, port = listener.getsockname()[:2]
    access = options.access
    if options.host not in ("0.0.0.0", "::"):  # noqa: S104 - compared with, not bound to
        access = replace(access, hosts=access.hosts | {options.host.lower()})
    app = make_app(scorer, options.limits, access, calibrator=calibrator)
    server = DrainingServer(_config(app, options), app.state.service)
    # Garbage collection stops every thread; keep it from scanning all that was loaded.
    gc.collect()
    gc.freeze()
    tell(f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}")
    server.run([listener])
    if not server.is_whole:
        raise ServeError("server stopped before all requests were answered", hint=server.hint)


def leave_at_once(code: int) -> None:
    """End the process without waiting for threads that may hang, in a decoder or on a host."""
    os._exit(code)


def _config(app: Any, options: ServeOptions) -> uvicorn.Config:
    limits = options.limits
    protocol = type("Protocol", (WatchedProtocol,), {"patience": limits.read_timeout})
    return uvicorn.Config(
        app,
        http=protocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=max(1, round(limits.read_timeout)),
        timeout_graceful_shutdown=round(FINAL_ANSWERS_S),
    )
