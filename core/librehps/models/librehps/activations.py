"""The activation functions that config.json can name."""

import math
from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

Activation = Callable[[Tensor], Tensor]

# The tanh form of GELU is x (1 + tanh z) / 2 = x sigmoid(2z), with 2z = x (LINEAR + CUBIC x²).
LINEAR = 2 * (2 / math.pi) ** 0.5
CUBIC = 0.044715 * LINEAR


def gelu_tanh(x: Tensor) -> Tensor:
    """Return the tanh form of GELU; on a CPU by a sigmoid, which costs half as much as tanh."""
    if x.device.type != "cpu" or x.dtype != torch.float32 or torch.is_grad_enabled():
        return F.gelu(x, approximate="tanh")
    twice = torch.addcmul(x.new_full((), LINEAR), x, x, value=CUBIC).mul_(x)
    return twice.sigmoid_().mul_(x)


ACTIVATIONS: Mapping[str, Activation] = {
    "silu": F.silu,
    "swish": F.silu,
    "gelu": F.gelu,
    "gelu_pytorch_tanh": gelu_tanh,
    "relu": F.relu,
}
