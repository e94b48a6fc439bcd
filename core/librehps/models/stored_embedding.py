"""An embedding whose table stays off the device: the rows of a batch are looked up and sent."""

import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Any
from weakref import finalize

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from librehps.errors import CheckpointError
from librehps.models.weights import stored_dtype, stored_shape

EMBEDDING = "model.language_model.embed_tokens.weight"
# Rows of common words are read once: about 12,000 rows of the published checkpoint in bfloat16.
CACHE_BYTES = 64 << 20


class RowEmbedding(nn.Module):
    """An embedding without parameters; `read` returns the rows (U, width) of ids (U,) on the CPU.

    Its table has `num_embeddings` rows of `embedding_dim` values, as one of `nn.Embedding`.
    """

    def __init__(
        self, read: Callable[[Tensor], Tensor], num_embeddings: int, embedding_dim: int
    ) -> None:
        super().__init__()
        self.read, self.num_embeddings, self.embedding_dim = read, num_embeddings, embedding_dim

    def lookup(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Return (rows, index) on the CPU: `rows[index]` are the embeddings of `ids` on the CPU.

        Rows are distinct, so that few values are sent to the device.
        """
        distinct, index = torch.unique(ids, return_inverse=True)
        return self.read(distinct), index

    def forward(self, ids: Tensor) -> Tensor:
        """Return the embeddings of ids on their device; on a GPU this waits for the ids."""
        rows, index = self.lookup(ids.cpu())
        return F.embedding(index, rows).to(ids.device)


def keep_stored(text: Any, place: tuple[Path, str], dtype: torch.dtype) -> None:
    """Replace the text model's `embed_tokens` by lookups in the shard; raises CheckpointError."""
    rows, width = stored_shape(place)
    text.embed_tokens = RowEmbedding(StoredRows(place, dtype).read, rows, width)


def keep_on_cpu(text: Any, table: Tensor) -> None:
    """Replace the text model's `embed_tokens` by lookups in a table in CPU memory."""
    held = table.detach().cpu()
    text.embed_tokens = RowEmbedding(lambda ids: held[ids], *held.shape)


def off_device(text: Any) -> RowEmbedding | None:
    """Return the text model's embedding if its table is off the device, else None."""
    return text.embed_tokens if isinstance(text.embed_tokens, RowEmbedding) else None


class StoredRows:
    """The rows of a matrix in a shard, read when first needed and cast as loading casts them.

    The file stays open, so that it may be deleted or replaced by another of its name. It is read,
    not mapped: a mapped file that is truncated kills the process. A file that is overwritten in
    place raises CheckpointError, since its rows may be of another model.
    """

    def __init__(self, place: tuple[Path, str], dtype: torch.dtype) -> None:
        self._shard, name = place
        self._stored = stored_dtype(place)
        rows, self._width = stored_shape(place)
        self._bytes = self._width * self._stored.itemsize
        try:
            self._file = self._shard.open("rb", buffering=0)
            finalize(self, self._file.close)
            self._start = _data_offset(self._file, name)
        except OSError as error:
            raise self._unreadable(error.strerror or str(error)) from error
        self._version = self._stat()
        self._lock = Lock()
        # Memory of the cache is taken as rows are added.
        self._kept = torch.empty(max(1, CACHE_BYTES // (self._width * dtype.itemsize)), self._width,
                                 dtype=dtype)  # fmt: skip
        self._slots = torch.full((rows,), -1)
        self._used = 0

    def read(self, ids: Tensor) -> Tensor:
        """Return the rows of distinct ids; raises CheckpointError if the file has changed."""
        with self._lock:
            missing = ids[self._slots[ids] < 0]
            if self._used + len(missing) > len(self._kept):
                self._forget(len(ids))
                missing = ids
            if len(missing):
                self._add(missing)
            return self._kept[self._slots[ids]]

    def _forget(self, rows: int) -> None:
        self._slots.fill_(-1)
        self._used = 0
        if rows > len(self._kept):
            with torch.inference_mode(False):
                self._kept = self._kept.new_empty(rows, self._width)

    def _add(self, ids: Tensor) -> None:
        wanted = ids.tolist()
        if len(wanted) > 1 and hasattr(os, "posix_fadvise"):
            # Starts all reads, so that a slow disk or network is waited for once. Some file systems
            # know no such advice.
            with suppress(OSError):
                for row in wanted:
                    at = self._start + row * self._bytes
                    os.posix_fadvise(self._file.fileno(), at, self._bytes, os.POSIX_FADV_WILLNEED)
        try:
            content = bytearray().join(map(self._row, wanted))
            changed = self._stat() != self._version
        except OSError as error:
            raise self._unreadable(error.strerror or str(error)) from error
        if changed or len(content) != len(wanted) * self._bytes:
            raise self._unreadable("the file was overwritten while in use")
        rows = torch.frombuffer(content, dtype=self._stored).view(-1, self._width)
        end = self._used + len(wanted)
        self._kept[self._used : end].copy_(rows)
        self._slots[ids] = torch.arange(self._used, end)
        self._used = end

    def _row(self, row: int) -> bytes:
        offset = self._start + row * self._bytes
        if hasattr(os, "pread"):
            # Without the file's position, which a forked process shares.
            return os.pread(self._file.fileno(), self._bytes, offset)
        self._file.seek(offset)
        return self._file.read(self._bytes)

    def _stat(self) -> tuple[int, int]:
        found = os.fstat(self._file.fileno())
        return found.st_size, found.st_mtime_ns

    def _unreadable(self, reason: str) -> CheckpointError:
        return CheckpointError(
            f"{self._shard}: cannot read the embedding: {reason}",
            hint="Restart, with --resume for a run, and leave the checkpoint unchanged meanwhile.",
        )


def _data_offset(file: Any, name: str) -> int:
    """Return where a tensor's values begin in an open safetensors file."""
    size = int.from_bytes(file.read(8), "little")
    header = json.loads(file.read(size))
    return 8 + size + int(header[name]["data_offsets"][0])
