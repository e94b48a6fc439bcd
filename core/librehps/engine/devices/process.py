"""The process of one device: load the model there, and score the batches of the main process.

It ends when the main process closes the link or dies, at once and however that happens.
"""

import logging
import os
import signal
import socket
import sys
import threading
import traceback
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import fields
from pathlib import Path

import torch

from librehps.engine.device import forward_or_full, launching_lock, probe_forward
from librehps.engine.devices.link import Link, Message, SharedFile, receive_files
from librehps.errors import LibreHPSError
from librehps.models.base import Loaded, LoadOptions
from librehps.models.families import open_checkpoint
from librehps.models.freed_memory import keep_freed_memory

# The main process decides what a signal means, and closes the link.
IGNORED_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class DeviceProcess:
    """The model on its device, and a lane for each shared file; the last is for probes."""

    _loaded: Loaded

    def __init__(self, link: Link, files: list[int]) -> None:
        self._link, self._files = link, [SharedFile(file) for file in files]
        # A thread's first call would reset an earlier set_num_threads.
        self._lanes = ThreadPoolExecutor(len(files), "forward", torch.get_num_threads)

    def load(self, asked: Message) -> None:
        """Load the model, and send what was chosen for it, or the error."""
        torch.set_num_threads(asked["threads"])
        try:
            base = None if asked["base"] is None else Path(asked["base"])
            checkpoint = open_checkpoint(Path(asked["folder"]), base)
            self._loaded = checkpoint.load(LoadOptions(**asked["options"]))
        except LibreHPSError as error:
            self._link.send({"error": [type(error).__name__, str(error), error.hint]})
            return
        keep_freed_memory(self._loaded.model.device)
        self._launching = launching_lock(self._loaded.model.device)
        self._link.send({"loaded": facts_of(self._loaded)})

    def read(self) -> None:
        """Start the batches that come, until the main process has ended, and then end."""
        while (message := self._link.receive()) is not None:
            self._lanes.submit(self._answer, message).add_done_callback(_check)
        # Not sys.exit: a forward cannot be interrupted.
        os._exit(0)

    def _answer(self, message: Message) -> None:
        if self._loaded.model.device.type == "cpu":
            torch.set_num_threads(message["threads"])
        slot = message["slot"]
        batch = self._files[slot].read(message["batch"])
        if slot == len(self._files) - 1:
            rows = probe_forward(self._loaded.model, batch)
        else:
            rows = forward_or_full(self._loaded.model, batch, self._launching)
        self._link.send({"slot": slot, "rows": None if rows is None else [*rows]})


class WarningSender(logging.Handler):
    """A handler that sends warnings to the main process, which logs them."""

    def __init__(self, link: Link) -> None:
        super().__init__(logging.WARNING)
        self._link = link

    def emit(self, record: logging.LogRecord) -> None:
        """Send the record's text."""
        self._link.send({"warning": record.getMessage()})


def facts_of(loaded: Loaded) -> Message:
    """Return what was chosen for a loaded model, as JSON values."""
    model = loaded.model
    choices = {f.name: getattr(loaded, f.name) for f in fields(loaded) if f.name != "model"}
    return {
        "device": str(model.device),
        "dtype": str(model.dtype).removeprefix("torch."),
        "axes": model.axes,
        "choices": {**choices, "reasons": dict(loaded.reasons)},
    }


def _check(done: "Future[None]") -> None:
    """End the process after an unexpected error: its device may be unusable from then on."""
    error = done.exception()
    if error is not None:
        traceback.print_exception(error)
        sys.stderr.flush()
        os._exit(1)


def _own_socket() -> socket.socket:
    """Return the socket that is stdin, which processes started from here do not inherit."""
    end = socket.socket(fileno=os.dup(0))
    with Path(os.devnull).open() as nothing:
        os.dup2(nothing.fileno(), 0)
    return end


def main() -> None:
    for number in IGNORED_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    end = _own_socket()
    files = receive_files(end)
    link = Link(end)
    asked = link.receive()
    if asked is None:
        return
    logging.captureWarnings(True)
    for name in ("librehps", "py.warnings"):
        logging.getLogger(name).addHandler(WarningSender(link))
    process = DeviceProcess(link, files)
    reader = threading.Thread(target=process.read, daemon=True)
    reader.start()
    process.load(asked)
    reader.join()


if __name__ == "__main__":
    main()
