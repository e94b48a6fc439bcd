"""The tensors of a binary request: a safetensors file in memory, checked, and read without copies.

The file is 8 bytes with the length of the header, the header (JSON), and the bytes of the tensors.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic_core import from_json

from librehps.errors import EmptyFileError, UnsupportedMediaError

BINARY_TYPE = "application/x-safetensors"
LENGTH_BYTES = 8
MAX_HEADER_BYTES = 16 << 20
MAX_TENSORS = 4096
MAX_NAME_CHARS = 256
MAX_DIMENSIONS, MAX_SIDE = 4, 1 << 31
METADATA, REQUEST = "__metadata__", "request"
FIELDS = {"dtype", "shape", "data_offsets"}


class InvalidTensorsError(ValueError):
    """A body that is no safetensors file of a request; the message is for the client."""


@dataclass(frozen=True)
class TensorFile:
    """The JSON text of a request, and its tensors by name, which are views of the body."""

    request: str
    tensors: Mapping[str, np.ndarray]


def header_size(body: bytes) -> int:
    """Return the number of bytes before the tensors; raises InvalidTensorsError."""
    if len(body) < LENGTH_BYTES:
        raise InvalidTensorsError(f"expected {LENGTH_BYTES} bytes with the length of the header")
    length = int.from_bytes(body[:LENGTH_BYTES], "little")
    if length > MAX_HEADER_BYTES:
        raise InvalidTensorsError(f"header too long: {length} bytes (at most {MAX_HEADER_BYTES})")
    if LENGTH_BYTES + length > len(body):
        raise InvalidTensorsError(f"header of {length} bytes in a body of {len(body)} bytes")
    return LENGTH_BYTES + length


def read_tensors(body: bytes) -> TensorFile:
    """Return the request and the tensors of a body; raises InvalidTensorsError."""
    start = header_size(body)
    try:
        header = from_json(body[LENGTH_BYTES:start], allow_inf_nan=False)
    except ValueError as error:
        raise InvalidTensorsError(f"header: invalid JSON: {error}") from error
    if not isinstance(header, dict):
        raise InvalidTensorsError("header: expected an object")
    request = _request(header.pop(METADATA, None))
    if len(header) > MAX_TENSORS:
        raise InvalidTensorsError(f"too many tensors: {len(header)} (at most {MAX_TENSORS})")
    entries = {name: _entry(name, value) for name, value in header.items()}
    _check_cover(entries, len(body) - start)
    content = np.frombuffer(body, np.uint8, offset=start)
    return TensorFile(
        request,
        {name: content[e.begin : e.end].reshape(e.shape) for name, e in entries.items()},
    )


def named_tensors(value: Any) -> Iterator[str]:
    """Yield each name that a request gives in a field `tensor`, at any depth."""
    if isinstance(value, dict):
        if isinstance(name := value.get("tensor"), str):
            yield name
        value = list(value.values())
    if isinstance(value, list):
        for part in value:
            if isinstance(part, dict | list):
                yield from named_tensors(part)


def check_used(tensors: Mapping[str, np.ndarray], request: Any) -> None:
    """Raise InvalidTensorsError for a tensor that the request does not name."""
    names = set(named_tensors(request))
    if unused := [name for name in tensors if name not in names]:
        raise InvalidTensorsError(f"tensor {unused[0]!r}: not used by the request")


def media_of(tensor: np.ndarray, name: str) -> bytes | np.ndarray:
    """Return the encoded file, picture (H, W, 3) or clip (frames, H, W, 3) in a tensor.

    Raises MediaError.
    """
    if tensor.ndim == 1:
        if not tensor.size:
            raise EmptyFileError(f"{name}: empty file (zero bytes)")
        return tensor.tobytes()
    if tensor.ndim not in (3, 4) or tensor.shape[-1] != 3 or not tensor.size:
        raise UnsupportedMediaError(
            f"{name}: expected the shape (bytes), (H, W, 3) or (frames, H, W, 3), "
            f"got {tensor.shape}"
        )
    return tensor


@dataclass(frozen=True)
class _Entry:
    """The place of a tensor: its bytes after the header, and its shape."""

    begin: int
    end: int
    shape: tuple[int, ...]


def _request(metadata: Any) -> str:
    request = metadata.get(REQUEST) if isinstance(metadata, dict) else None
    if not isinstance(request, str):
        raise InvalidTensorsError(f"header: expected the request as text in {METADATA}.{REQUEST}")
    return request


def _entry(name: str, value: Any) -> _Entry:
    """Return the place of a tensor, whose bytes fit its shape; raises InvalidTensorsError."""
    if len(name) > MAX_NAME_CHARS:
        raise InvalidTensorsError(f"name of a tensor too long (at most {MAX_NAME_CHARS})")
    if not isinstance(value, dict) or set(value) != FIELDS:
        raise InvalidTensorsError(f"tensor {name!r}: expected {', '.join(sorted(FIELDS))}")
    if value["dtype"] != "U8":
        raise InvalidTensorsError(f"tensor {name!r}: unsupported dtype (expected U8)")
    shape, offsets = value["shape"], value["data_offsets"]
    if not _are_sizes(shape) or not 1 <= len(shape) <= MAX_DIMENSIONS:
        raise InvalidTensorsError(f"tensor {name!r}: expected a shape of 1, 3 or 4 sizes")
    # numpy refuses an empty array too if its other sizes are too large.
    if math.prod(max(1, n) for n in shape) >= MAX_SIDE:
        raise InvalidTensorsError(f"tensor {name!r}: shape too large")
    if not _are_sizes(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise InvalidTensorsError(f"tensor {name!r}: expected data_offsets of begin and end")
    begin, end = offsets
    if math.prod(shape) != end - begin:
        raise InvalidTensorsError(
            f"tensor {name!r}: {end - begin} bytes, but its shape has {math.prod(shape)}"
        )
    return _Entry(begin, end, tuple(shape))


def _are_sizes(value: Any) -> bool:
    # By type, since a bool is an int.
    return isinstance(value, list) and all(type(n) is int and 0 <= n < MAX_SIDE for n in value)


def _check_cover(entries: Mapping[str, _Entry], size: int) -> None:
    """Raise InvalidTensorsError unless the tensors cover all bytes, none of them twice."""
    at = 0
    for name, entry in sorted(entries.items(), key=lambda pair: (pair[1].begin, pair[1].end)):
        if entry.begin != at:
            raise InvalidTensorsError(
                f"tensor {name!r}: begins at byte {entry.begin}, expected {at}"
            )
        at = entry.end
    if at != size:
        raise InvalidTensorsError(f"the tensors have {at} bytes, the body has {size}")
