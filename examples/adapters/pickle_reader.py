"""Read one pickled request on stdin, and write its images and prompts to stdout as plain bytes.

`pickle_gateway.py` starts this program for each request: with an empty environment, no descriptors
but the two pipes, and no packages. Before the program reads a byte, it gives up its rights: on
Linux the user (if root), the network (where the kernel permits it) and any later gain of rights;
everywhere new files, processes, and more than its memory and time. Of what a pickle can name, the
program knows stand-ins of its own that only keep data. Unpickling remains unsafe: this confines it.

Output: the length of a header in 8 bytes, the header in JSON, then the bytes of the images.
"""

import ctypes
import io
import json
import os
import pickle
import resource
import struct
import sys
from typing import Any, NamedTuple

CPU_S = 5
NOBODY = 65534
# Of prctl(2) and unshare(2).
PR_SET_NO_NEW_PRIVS, CLONE_NEWUSER, CLONE_NEWNET = 38, 0x10000000, 0x40000000
PROBLEMS = (
    *(pickle.UnpicklingError, EOFError, ValueError, TypeError, AttributeError, LookupError),
    *(ArithmeticError, MemoryError, RecursionError, struct.error),
)
# The text that the scorer of DDPO puts before the prompt.
ANSWER_PREFIX = "The image contains "


def confine(memory_bytes: int) -> None:
    """Give up the rights that reading a pickle does not need."""
    # Codecs are found on disk, which is out of reach later.
    "".encode("utf-32-le"), "".encode("utf-32-be"), "".encode("latin1")
    libc = ctypes.CDLL(None)
    is_linux = sys.platform == "linux"
    is_offline = is_linux and libc.unshare(CLONE_NEWNET) == 0
    # Before a user namespace, in which root would no longer be seen as root.
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    if is_linux and not is_offline:
        libc.unshare(CLONE_NEWUSER | CLONE_NEWNET)
    if is_linux:
        libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    limits = {
        resource.RLIMIT_AS: memory_bytes,
        resource.RLIMIT_CPU: CPU_S,
        resource.RLIMIT_NPROC: 0,
        resource.RLIMIT_NOFILE: 0,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0,
    }
    for name, value in limits.items():
        _, hard = resource.getrlimit(name)
        limit = value if hard == resource.RLIM_INFINITY else min(value, hard)
        try:
            resource.setrlimit(name, (limit, limit))
        except (ValueError, OSError):
            # macOS knows no limit of memory; the limits of size and time hold there.
            if name != resource.RLIMIT_AS or is_linux:
                raise


class DType:
    """A stand-in of numpy.dtype: its name, like `U5` or `u1`, and its byte order."""

    def __init__(self, name: str, *_: Any) -> None:
        self.name, self.order = name, "<"

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = state[1]

    def texts(self, data: bytes) -> list[str]:
        """Return the texts in the memory of an array of texts."""
        size = 4 * int(self.name[1:])
        codec = "utf-32-be" if self.order == ">" else "utf-32-le"
        parts = [data[at : at + size] for at in range(0, len(data), size or 1)]
        return [part.decode(codec).rstrip("\0") for part in parts]


class Array:
    """A stand-in of numpy.ndarray: shape, type and bytes."""

    def __init__(self, *_: Any) -> None:
        self.__setstate__((1, (0,), DType("u1"), False, b""))

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, self.shape, self.dtype, self.is_fortran, self.data = state

    def entries(self) -> list[Any]:
        """Return the entries of an array of texts or objects."""
        if self.dtype.name.startswith("O"):
            return list(self.data)
        if self.dtype.name.startswith("U"):
            texts: list[Any] = self.dtype.texts(self.data)
            return texts
        raise ValueError(f"an array of type {self.dtype.name}, expected texts")


def from_buffer(data: Any, dtype: DType, shape: Any, order: str) -> Array:
    array = Array()
    array.__setstate__((1, shape, dtype, order == "F", bytes(data)))
    return array


def scalar(dtype: DType, data: Any = b"") -> Any:
    return dtype.texts(data)[0] if dtype.name.startswith("U") else data


def encode(text: str, codec: str) -> bytes:
    """Return bytes as protocols 0 to 2 pickle them."""
    if codec != "latin1":
        raise ValueError(f"unsupported codec {codec!r}")
    return text.encode("latin1")


CORES = ("numpy.core", "numpy._core")
KNOWN: dict[tuple[str, str], Any] = {
    ("_codecs", "encode"): encode,
    ("numpy", "dtype"): DType,
    ("numpy", "ndarray"): Array,
    **{(f"{core}.multiarray", "_reconstruct"): Array for core in CORES},
    **{(f"{core}.multiarray", "scalar"): scalar for core in CORES},
    **{(f"{core}.numeric", "_frombuffer"): from_buffer for core in CORES},
}


class Unpickler(pickle.Unpickler):
    """An unpickler that knows no name but those of `KNOWN`."""

    def find_class(self, module: str, name: str) -> Any:
        try:
            return KNOWN[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"{module}.{name} is not allowed in a request") from None


class Request(NamedTuple):
    """A request: encoded images or (H, W, 3) pixels with their shape, and a prompt for each."""

    images: list[tuple[bytes, list[int] | None]]
    prompts: list[str]
    has_answers: bool


def request_of(body: bytes) -> Request:
    """Return the request in a pickle; raises one of PROBLEMS."""
    # Checked and named: a limited unpickler, in a confined process, is what this program is for.
    given = Unpickler(io.BytesIO(body)).load()
    if not isinstance(given, dict) or "images" not in given:
        raise ValueError("expected a dict with images")
    has_answers = "prompts" not in given
    if has_answers and "answers" not in given:
        raise ValueError("no prompts: this reward needs the prompt of each image")
    texts = entries(given["answers" if has_answers else "prompts"])
    if has_answers:
        texts = [str(entries(text)[0]).removeprefix(ANSWER_PREFIX) for text in texts]
    if not all(isinstance(text, str) for text in texts):
        raise ValueError("prompts: expected texts")
    return Request([image_of(one) for one in entries(given["images"])], texts, has_answers)


def entries(value: Any) -> list[Any]:
    if isinstance(value, Array):
        return value.entries()
    if isinstance(value, list | tuple):
        return list(value)
    raise ValueError(f"expected a list, got {type(value).__name__}")


def image_of(value: Any) -> tuple[bytes, list[int] | None]:
    """Return (encoded bytes, None), or (pixels, shape)."""
    if isinstance(value, bytes | bytearray):
        return bytes(value), None
    if isinstance(value, Array):
        height, width, channels = (int(n) for n in value.shape)
        size = height * width * 3
        is_rgb = channels == 3 and value.dtype.name == "u1" and len(value.data) == size
        if is_rgb and not value.is_fortran:
            return bytes(value.data), [height, width, 3]
    raise ValueError("images: expected encoded bytes, or arrays (H, W, 3) of uint8")


def main() -> None:
    confine(int(sys.argv[1]))
    blobs: list[bytes] = []
    header: dict[str, Any]
    try:
        request = request_of(sys.stdin.buffer.read())
        blobs = [data for data, _ in request.images]
        header = {
            "prompts": request.prompts,
            "has_answers": request.has_answers,
            "images": [{"size": len(data), "shape": shape} for data, shape in request.images],
        }
    except PROBLEMS as error:
        header = {"error": f"{type(error).__name__}: {error}"[:300]}
    text = json.dumps(header).encode()
    sys.stdout.buffer.write(struct.pack("<Q", len(text)) + text)
    for blob in blobs:
        sys.stdout.buffer.write(blob)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
