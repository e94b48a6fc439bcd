"""The server process: a graceful shutdown."""

import asyncio
import gc
import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import FrameType

import uvicorn

from librehps.decide.probability import Platt
from librehps.errors import DeviceError, ServeError, UsageError
from librehps.scorer import LibreHPS
from librehps.serve.app import Service, make_app
from librehps.serve.connections import BACKLOG, FINAL_ANSWERS_S, configure
from librehps.serve.options import ServeOptions, reserve

log = logging.getLogger("librehps")

# Time for the handlers of the last requests to answer with an error.
LAST_REQUESTS_S, TICK_S = 5.0, 0.05


class DrainingServer(uvicorn.Server):
    """A server that a signal stops once all requests are answered, and a second signal at once."""

    def __init__(
        self, config: uvicorn.Config, service: Service, tell: Callable[[], None] = lambda: None
    ) -> None:
        super().__init__(config)
        self._service, self._tell = service, tell
        self.failure: ServeError | None = None
        self._device_status = "ready"

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the app, accept connections and tell the URL."""
        await super().startup(sockets)
        for listener in sockets or ():
            # The event loop has set it to the number of connections that it accepts at once.
            listener.listen(BACKLOG)
        self._tell()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle SIGHUP like SIGTERM, unless the server was started with SIGHUP ignored."""
        hangup = getattr(signal, "SIGHUP", None)
        with super().capture_signals():
            if hangup is None or signal.getsignal(hangup) is signal.SIG_IGN:
                yield
                return
            before = signal.signal(hangup, self.handle_exit)
            try:
                yield
            finally:
                signal.signal(hangup, before)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        gate = self._service.gate
        if gate.draining:
            if gate.active:
                self.failure = _unfinished("A second signal stops the server at once.")
            self.should_exit = True
            self._hurry()
        else:
            gate.drain()

    async def on_tick(self, counter: int) -> bool:
        ending = await super().on_tick(counter)
        gate = self._service.gate
        if ending:
            return ending
        self._log_stall()
        lost = self._service.lost
        if lost is not None:
            # For a supervisor to start the server again.
            timeout = f"{self._service.limits.device_timeout:g} s (--device-timeout-s)"
            self.failure = ServeError(
                f"the device has {lost.status} for {timeout}: the server answered all requests "
                "with this error and ended",
                hint="See the log above; start the server again, or reset or leave out the device.",
            )
            await self._give_up(lost)
            return True
        if not gate.draining:
            return False
        if gate.active == 0:
            queue = self._service.queue
            if queue is not None and queue.is_running:
                # A batch without a client: its device may hang, so do not wait for the batch.
                self._hurry()
            return True
        if gate.drained_for < self._service.limits.drain:
            return False
        self.failure = _unfinished("Raise --drain-s.")
        await self._give_up(None)
        return True

    def _log_stall(self) -> None:
        """Log that the device does not answer any more, and that it answers again."""
        before, device = self._device_status, self._service.device
        self._device_status = "ready" if device is None else device.status
        if self._device_status == "stalled" != before:
            log.warning("the device does not answer: requests get 503 until it does")
        if self._device_status == "ready" and before == "stalled":
            log.warning("the device answers again")

    async def _give_up(self, error: DeviceError | None) -> None:
        """Answer all requests with the error, by default that the server shuts down."""
        gate, queue = self._service.gate, self._service.queue
        gate.give_up(error)
        if queue is not None:
            queue.abandon(error)
        ends = time.monotonic() + LAST_REQUESTS_S
        while gate.active and time.monotonic() < ends:
            await asyncio.sleep(TICK_S)
        await asyncio.sleep(FINAL_ANSWERS_S)
        self._hurry()

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
    """Serve until a signal; `tell` receives the URL, `listener` is a socket from `reserve`.

    Raises UsageError if the address cannot be used, ServeError if requests were left unanswered.
    """
    listener = listener or reserve(options)
    host, port = listener.getsockname()[:2]
    access = options.access
    if options.host not in ("0.0.0.0", "::"):  # noqa: S104 - compared with, not bound to
        access = replace(access, hosts=access.hosts | {options.host.lower()})
    app = make_app(
        scorer, options.limits, access, calibrator=calibrator, reward_name=options.reward_name
    )
    service: Service = app.state.service
    service.load()
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    config = configure(app, options.limits.read_timeout)
    server = DrainingServer(config, service, lambda: tell(url))
    # Garbage collection stops every thread; keep it from scanning all that was loaded.
    gc.collect()
    gc.freeze()
    try:
        _listen(listener)
        server.run([listener])
    finally:
        service.close()
    if server.failure is not None:
        raise server.failure


def _listen(listener: socket.socket) -> None:
    try:
        listener.listen(BACKLOG)
    except OSError as error:
        # Another process that had reserved the port too, while both loaded, was faster.
        host, port = listener.getsockname()[:2]
        text = f"cannot listen on {host}:{port}: {error.strerror}"
        raise UsageError(text, "Use another --port.") from error


def _unfinished(hint: str) -> ServeError:
    return ServeError("server stopped before all requests were answered", hint=hint)


def leave_at_once(code: int) -> None:
    """End the process without waiting for threads that may hang, in a decoder or on a host."""
    os._exit(code)
