"""Names, shapes and values of the tensors in safetensors files, for any model family."""

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from librehps.errors import CheckpointError, MemoryShortError
from librehps.models.prequantised import check_float_tensor
from librehps.models.quantise import FULL, is_quantised, quantised_bytes
from librehps.models.weight_files import first_names

M = TypeVar("M", bound=nn.Module)
# Canonical name of a tensor -> (shard file, name in the shard).
Stored = Mapping[str, tuple[Path, str]]

# Mapped pages of a shard count as resident memory until the map is closed: copy this much per map.
PIECE_BYTES = 32 << 20
# A fingerprint reads this many rows of a tensor, and this many values of each row.
SAMPLE_ROWS, SAMPLE_VALUES = 8, 64

_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
}


def find_tensors(shards: Iterable[Path], canonical_name: Callable[[str], str | None]) -> Stored:
    """Return every stored tensor by canonical name; a tensor whose name maps to None is skipped.

    Raises CheckpointError for a damaged shard, a quantised tensor and a duplicate canonical name.
    """
    tensors: dict[str, tuple[Path, str]] = {}
    for shard in shards:
        for name, dtype in tensor_dtypes(shard).items():
            check_float_tensor(shard, name, dtype)
            canonical = canonical_name(name)
            if canonical is None:
                continue
            if canonical in tensors:
                raise CheckpointError(f"{shard}: duplicate tensor {canonical} in {shard.parent}")
            tensors[canonical] = (shard, name)
    return tensors


def tensor_names(shard: Path) -> list[str]:
    """Return the stored names of a shard's tensors; raises CheckpointError."""
    with _Opened(shard) as file:
        return list(file.keys())


def tensor_dtypes(shard: Path) -> dict[str, str]:
    """Return the dtype in the header of each tensor of a shard; raises CheckpointError."""
    with _Opened(shard) as file:
        return {name: str(file.get_slice(name).get_dtype()) for name in file.keys()}  # noqa: SIM118


def stored_shape(place: tuple[Path, str]) -> tuple[int, ...]:
    """Return the shape of a stored tensor; raises CheckpointError unless it holds floats."""
    return _header(*place)[0]


def stored_dtype(place: tuple[Path, str]) -> torch.dtype:
    """Return the dtype of a stored tensor; raises CheckpointError unless it holds floats."""
    return _header(*place)[1]


def read_tensor(place: tuple[Path, str], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return a stored tensor as `dtype` on `device`, copied piece by piece."""
    shard, name = place
    shape, stored = _header(shard, name)
    target = torch.empty(shape, dtype=dtype, device=device)
    rows = shape[0] if shape else 1
    step = max(1, PIECE_BYTES * rows // max(1, target.numel() * stored.itemsize))
    for start in range(0, rows, step):
        with _Opened(shard) as file:
            if not shape:
                target.copy_(file.get_tensor(name))
            else:
                target[start : start + step].copy_(file.get_slice(name)[start : start + step])
    return target


def fingerprint(tensors: Stored) -> str:
    """Return 12 hex digits that identify the weights, independent of stored dtype and shards.

    A digest of each tensor's name, shape, and up to 8 x 64 values as bfloat16.
    """
    digest = hashlib.sha256()
    starts = {shard: _data_starts(shard) for shard in {shard for shard, _ in tensors.values()}}
    for name in sorted(tensors):
        shard, stored = tensors[name]
        shape, dtype = _header(shard, stored)
        digest.update(f"{name}{shape}".encode())
        rows, width = (shape[0], math.prod(shape[1:])) if shape else (0, 0)
        with shard.open("rb") as file:
            for row in range(0, rows if width else 0, max(1, rows // SAMPLE_ROWS)):
                file.seek(starts[shard][stored] + row * width * dtype.itemsize)
                # Not a slice of the file's tensor: PyTorch drops a KeyboardInterrupt that comes
                # while a slice is made, and raises a ValueError.
                sample = bytearray(file.read(min(width, SAMPLE_VALUES) * dtype.itemsize))
                values = torch.frombuffer(sample, dtype=dtype).to(torch.bfloat16)
                digest.update(values.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:12]


def _data_starts(shard: Path) -> dict[str, int]:
    """Return where the values of each tensor begin in a shard that is whole."""
    with shard.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
    header.pop("__metadata__", None)
    return {name: 8 + length + one["data_offsets"][0] for name, one in header.items()}


def check_tensors(
    folder: Path,
    tensors: Stored,
    expected: Mapping[str, tuple[int, ...]],
    likely_cause: Callable[[list[str], list[str]], str],
) -> None:
    """Raise CheckpointError that lists every missing, unexpected or misshapen tensor.

    `expected` maps each canonical name to its shape; `likely_cause` returns the hint for the
    missing and the unexpected names.
    """
    missing, unexpected = sorted({*expected} - {*tensors}), sorted({*tensors} - {*expected})
    if missing or unexpected:
        lines = [f"{folder}: tensors do not match config.json"]
        if missing:
            lines.append(f"missing {len(missing)}: {first_names(missing)}")
        if unexpected:
            lines.append(f"unexpected {len(unexpected)}: {first_names(unexpected)}")
        raise CheckpointError("\n".join(lines), hint=likely_cause(missing, unexpected))
    shapes = {name: stored_shape(place) for name, place in tensors.items()}
    wrong = [
        f"{name} is {shape}, expected {expected[name]}"
        for name, shape in shapes.items()
        if shape != expected[name]
    ]
    if wrong:
        raise CheckpointError(
            f"{folder}: {first_names(wrong)}",
            hint="The weights and config.json seem to come from different models.",
        )


def assign(model: nn.Module, name: str, value: Tensor) -> None:
    """Set a parameter of the model by its dotted name, without gradient."""
    parent, _, leaf = name.rpartition(".")
    setattr(model.get_submodule(parent), leaf, nn.Parameter(value, requires_grad=False))


def on_meta(build: Callable[[], M]) -> M:
    """Return the model that `build` makes from a config.json, on the meta device.

    Raises CheckpointError if the fields of the config are inconsistent.
    """
    # Errors that config classes and layers raise for inconsistent fields.
    misfits = (ValueError, TypeError, KeyError, AttributeError, RuntimeError, ZeroDivisionError)
    try:
        with torch.device("meta"), _Uninitialised():
            return build()
    except misfits as error:
        raise CheckpointError(f"config.json: cannot build the model: {error}") from error


def resident_bytes(
    model: nn.Module, dtype: torch.dtype, heads: tuple[str, ...], weights: str = FULL
) -> int:
    """Return the bytes of the loaded parameters: the backbone in `dtype`, `heads` in float32.

    `weights` full, int8 or nf4 says how the linear layers are stored.
    """

    def stored(name: str, parameter: Tensor) -> int:
        if is_quantised(model.get_submodule(name.rpartition(".")[0]), name, weights):
            return quantised_bytes(tuple(parameter.shape), weights)
        return parameter.numel() * (4 if name.startswith(heads) else dtype.itemsize)

    return sum(stored(name, parameter) for name, parameter in model.named_parameters())


class _Uninitialised(TorchFunctionMode):
    """A context in which new layers keep unset values, since all values are loaded later.

    Random values on the meta device would also import torch's compiler, which takes seconds.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if getattr(func, "__module__", None) == "torch.nn.init":
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs or {})


class _Opened:
    """A context manager that opens a shard; raises CheckpointError, and MemoryShortError."""

    def __init__(self, shard: Path) -> None:
        self.shard = shard

    def __enter__(self) -> Any:
        try:
            self.file = safe_open(self.shard, framework="pt")
            return self.file.__enter__()
        except (SafetensorError, OSError) as error:
            raise CheckpointError(
                f"{self.shard} is damaged or truncated: {error}",
                hint="Download this file again.",
            ) from error
        except (MemoryError, RuntimeError) as error:
            # The file is mapped twice: by safetensors and by PyTorch.
            raise MemoryShortError(
                f"{self.shard} cannot be mapped: {error}",
                hint="Raise the limits of the process (ulimit -v, ulimit -d) by the file's size.",
            ) from error

    def __exit__(self, *exc: Any) -> None:
        self.file.__exit__(*exc)


def _header(shard: Path, name: str) -> tuple[tuple[int, ...], torch.dtype]:
    """Return (shape, dtype) of a stored tensor; raises CheckpointError unless it holds floats."""
    with _Opened(shard) as file:
        return _described(shard, name, file.get_slice(name))


def _described(shard: Path, name: str, values: Any) -> tuple[tuple[int, ...], torch.dtype]:
    """Return (shape, dtype) of the opened tensor `values`; raises CheckpointError."""
    shape, kind = tuple(values.get_shape()), values.get_dtype()
    if kind not in _DTYPES:
        raise CheckpointError(
            f"{shard}: unsupported dtype {kind} of {name} (expected {', '.join(_DTYPES)})"
        )
    return shape, _DTYPES[kind]
