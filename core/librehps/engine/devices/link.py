"""Messages to the process of a device, as JSON lines, and batches, in files in memory.

Pixels stay out of the socket: a batch is written to a file that both processes have open, and the
message says where its tensors are. A link carries one batch per file at a time.
"""

import json
import mmap
import os
import socket
import tempfile
import threading
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from librehps.models.base import Prepared

Message = dict[str, Any]
# (dtype, shape, offset in the file) of each tensor of an item, by the name of the field.
Layout = dict[str, tuple[str, list[int], int]]

# Of a Prepared; each item has pixels of its own on the other side.
TENSORS = ("pixels", "ids", "positions", "vision")
ALIGNMENT_BYTES = 64


class Link:
    """An end of a socket pair; `send` is thread-safe, `receive` is for one thread."""

    def __init__(self, end: socket.socket) -> None:
        self._end, self._sending = end, threading.Lock()
        self._lines = end.makefile("rb")

    def send(self, message: Message) -> None:
        """Send a message; raises OSError if the other process has ended."""
        line = json.dumps(message).encode() + b"\n"
        with self._sending:
            self._end.sendall(line)

    def receive(self) -> Message | None:
        """Return the next message, None once the other process has ended."""
        try:
            line = self._lines.readline()
        except OSError:
            return None
        # A process that dies may leave half a line.
        return json.loads(line) if line.endswith(b"\n") else None

    def shut(self) -> None:
        """End the link; both processes then receive None."""
        try:
            self._end.shutdown(socket.SHUT_RDWR)
        except OSError:
            # The other process has ended.
            return

    def close(self) -> None:
        """Close this end, of which no thread receives any more."""
        self._lines.close()
        self._end.close()


def memory_file() -> int:
    """Return the descriptor of an empty file without a name, in memory where the system can."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("librehps-batch")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def send_files(end: socket.socket, files: Sequence[int]) -> None:
    """Give open files to the other process, before the first message."""
    end.sendall(len(files).to_bytes(4, "big"))
    for file in files:
        socket.send_fds(end, [b"f"], [file])


def receive_files(end: socket.socket) -> list[int]:
    """Return the open files of `send_files`; empty if the other process has ended."""
    count = int.from_bytes(end.recv(4, socket.MSG_WAITALL), "big")
    return [file for _ in range(count) for file in socket.recv_fds(end, 1, 1)[1]]


def write_batch(file: int, batch: Sequence[Prepared]) -> list[Layout]:
    """Write the tensors of a batch into the file; return where they are, for `SharedFile.read`."""
    layouts, at = [], 0
    for item in batch:
        layout: Layout = {}
        for name in TENSORS:
            tensor: Tensor = getattr(item, name).cpu().contiguous()
            layout[name] = (str(tensor.dtype)[6:], list(tensor.shape), at)
            _write(file, tensor, at)
            at += -(-tensor.nbytes // ALIGNMENT_BYTES) * ALIGNMENT_BYTES
        layouts.append(layout)
    return layouts


def _write(file: int, tensor: Tensor, at: int) -> None:
    """Write the tensor's bytes; a full disk is an OSError, as no mapping would make it."""
    left = memoryview(tensor.reshape(-1).view(torch.uint8).numpy().data)
    while left:
        count = os.pwrite(file, left, at)
        left, at = left[count:], at + count


class SharedFile:
    """A file that `write_batch` wrote in another process, mapped into memory."""

    def __init__(self, file: int) -> None:
        self._file = file
        self._map: mmap.mmap | None = None

    def read(self, layouts: Sequence[Layout]) -> list[Prepared]:
        """Return the batch, whose tensors are valid until the next batch is written."""
        size = os.fstat(self._file).st_size
        if self._map is None or len(self._map) < size:
            self._map = mmap.mmap(self._file, size)
        return [self._prepared(layout) for layout in layouts]

    def _prepared(self, layout: Layout) -> Prepared:
        assert self._map is not None  # noqa: S101 - mapped before
        pixels, ids, positions, vision = (_tensor(self._map, *layout[name]) for name in TENSORS)
        return Prepared(pixels, ids, positions, vision)


def _tensor(mapped: mmap.mmap, dtype: str, shape: list[int], at: int) -> Tensor:
    kind: torch.dtype = getattr(torch, dtype)
    count = torch.Size(shape).numel()
    if count == 0:
        return torch.empty(shape, dtype=kind)
    return torch.frombuffer(mapped, dtype=kind, count=count, offset=at).view(shape)
