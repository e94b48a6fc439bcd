"""The server process: a graceful shutdown."""

import asyncio
import gc
import logging
import os
import socket
from collections.abc import Callable
from dataclasses import replace
from types import FrameType

import uvicorn

from librehps.decide.probability import Platt
from librehps.errors import ServeError
from librehps.scorer import LibreHPS
from librehps.serve.app import Service, make_app
from librehps.serve.connections import FINAL_ANSWERS_S, configure
from librehps.serve.options import ServeOptions, listen


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
    app = make_app(
        scorer, options.limits, access, calibrator=calibrator, reward_name=options.reward_name
    )
    server = DrainingServer(configure(app, options.limits.read_timeout), app.state.service)
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
