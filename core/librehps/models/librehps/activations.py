"""The activation functions that config.json can name."""

from collections.abc import Callable, Mapping
from math import pi

import torch
import torch.nn.functional as F
from torch import Tensor

Activation = Callable[[Tensor], Tensor]

# GELU's tanh form is x * sigmoid(SLOPE * x + CUBIC * x^3).
SLOPE = 2 * (2 / pi) ** 0.5
CUBIC = 0.044715 * SLOPE


def tanh_gelu(x: Tensor) -> Tensor:
    """Return GELU in its tanh form; on a CPU by the sigmoid, whose kernel is faster than tanh."""
    if x.device.type != "cpu" or x.dtype != torch.float32 or torch.is_grad_enabled():
        return F.gelu(x, approximate="tanh")
    slope = torch.addcmul(torch.tensor(SLOPE), x, x, value=CUBIC)
    return slope.mul_(x).sigmoid_().mul_(x)


ACTIVATIONS: Mapping[str, Activation] = {
    "silu": F.silu,
    "swish": F.silu,
    "gelu": F.gelu,
    "gelu_pytorch_tanh": tanh_gelu,
    "relu": F.relu,
}
