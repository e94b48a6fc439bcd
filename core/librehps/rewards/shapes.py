"""Convert the pixels of trainers, arrays and tensors of many shapes, to those of items."""

from functools import cache
from logging import getLogger
from typing import TYPE_CHECKING, Any

from librehps.errors import UnsupportedMediaError, UsageError

if TYPE_CHECKING:
    from torch import Tensor

log = getLogger("librehps")

EXPECTED = (
    "expected (3, H, W), (H, W, 3), (1, H, W), (H, W), (4, H, W) or (H, W, 4) for an image, "
    "(frames, 3, H, W), (frames, H, W, 3) or (3, frames, H, W) for a clip"
)
# Of float pixels outside [0, 1].
RANGE_HINT = "Convert pixels in [-1, 1] with ((x + 1) / 2).clamp(0, 1)."


def is_pixels(value: Any) -> bool:
    """Return whether `value` is an array or a tensor, of any library; a Pillow image is neither."""
    # A text of numpy has that attribute too.
    return hasattr(value, "__array__") and not isinstance(value, str | bytes)


def from_pixels(value: Any) -> Any:
    """Return a (3, H, W) tensor, a list of them for a clip, or an RGBA Pillow image.

    Where two readings fit, three channels go before one or four, and a tensor's channels come
    first, an array's last. Leading dimensions of 1 are dropped. Raises UnsupportedMediaError.
    """
    import torch

    tensor = value if isinstance(value, torch.Tensor) else _tensor_of(value)
    types = (torch.uint8, torch.float16, torch.bfloat16, torch.float32, torch.float64)
    if tensor.dtype not in types or tensor.layout != torch.strided or tensor.is_meta:
        raise UnsupportedMediaError(
            f"pixels of type {_type_name(tensor)}: expected uint8, or floats in [0, 1]"
        )
    if tensor.requires_grad:
        _warn_of_gradients()
    tensor = tensor.detach()
    are_last = not isinstance(value, torch.Tensor)
    media = _read(tensor, are_last) if tensor.numel() else None
    if media is None:
        raise UnsupportedMediaError(f"pixels of shape {tuple(tensor.shape)}: {EXPECTED}")
    return media


def check_floats(pixels: "Tensor") -> None:
    """Raise UsageError for float pixels outside [0, 1]; NaN and infinity are let through."""
    import torch

    from librehps.media.arrays import STRAY

    if not pixels.is_floating_point() or not pixels.numel():
        return
    low, high = torch.where(pixels.isfinite(), pixels, 0).detach().float().aminmax()
    if low < -STRAY or high > 1 + STRAY:
        raise UsageError(
            f"float pixels: expected [0, 1], got {low:.3g} to {high:.3g} in the batch",
            hint=RANGE_HINT,
        )


def _read(tensor: "Tensor", are_last: bool) -> Any:
    """Return the media of pixels, None for an unknown shape."""
    while tensor.ndim > 3 and tensor.shape[0] == 1:
        tensor = tensor[0]
    if tensor.ndim == 2:
        return tensor.expand(3, -1, -1)
    if tensor.ndim == 4:
        at = _channels(tensor, (-1, 1, 0) if are_last else (1, -1, 0), (3,))
        return None if at is None else list(tensor.movedim(at, 1))
    if tensor.ndim != 3:
        return None
    axes = (-1, 0) if are_last else (0, -1)
    at = _channels(tensor, axes, (3,))
    at = _channels(tensor, axes, (1, 4)) if at is None else at
    if at is None:
        return None
    image = tensor.movedim(at, 0)
    return _with_alpha(image) if len(image) == 4 else image.expand(3, -1, -1)


def _channels(tensor: "Tensor", axes: tuple[int, ...], counts: tuple[int, ...]) -> int | None:
    """Return the first of the axes that has a number of channels in `counts`."""
    return next((axis for axis in axes if tensor.shape[axis] in counts), None)


def _with_alpha(pixels: "Tensor") -> Any:
    """Return (4, H, W) pixels as an image file with transparency is read: by Pillow."""
    import torch
    from PIL import Image

    check_floats(pixels)
    if pixels.is_floating_point():
        if not pixels.isfinite().all():
            raise UnsupportedMediaError("pixels: expected floats in [0, 1], got NaN or infinity")
        pixels = (pixels.float().clamp(0, 1) * 255).round().to(torch.uint8)
    return Image.fromarray(pixels.permute(1, 2, 0).contiguous().cpu().numpy())


def _tensor_of(value: Any) -> "Tensor":
    import numpy as np
    import torch

    try:
        array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        # Such as an array on a GPU of a library that copies none to the CPU by itself.
        raise UnsupportedMediaError(f"pixels of type {type(value).__name__}: {error}") from error
    if array.dtype.kind == "f":
        # Pixels become float32 anyway; torch supports neither longdouble nor foreign byte order.
        return torch.from_numpy(array.astype(np.float32))
    if array.dtype != np.uint8:
        raise UnsupportedMediaError(
            f"pixels of type {array.dtype}: expected uint8, or floats in [0, 1]"
        )
    # Torch shares neither memory that is read-only nor memory that is read backwards.
    is_shared = array.flags.writeable and min(array.strides, default=1) > 0
    return torch.from_numpy(array if is_shared else array.copy())


def _type_name(tensor: "Tensor") -> str:
    import torch

    notes = [] if tensor.layout == torch.strided else [str(tensor.layout)]
    notes += ["meta"] if tensor.is_meta else []
    return " ".join([str(tensor.dtype), *notes]).replace("torch.", "")


@cache
def _warn_of_gradients() -> None:
    """Log once in a process that rewards drop the graph of the pixels."""
    log.warning(
        "rewards: the pixels require gradients, but these rewards carry none. "
        "Use model.reward_gradient to train through the reward. (Said once.)"
    )
