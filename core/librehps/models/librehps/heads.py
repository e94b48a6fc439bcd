"""The two reward heads, always in float32."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from librehps.types import AXES

# The published head clamps log sigma to these bounds.
LOG_SIGMA_MIN, LOG_SIGMA_MAX = -10.0, 2.0


class HeadOutput(NamedTuple):
    """The heads' output: mu and sigma (batch, axes), scalar (batch,), all float32."""

    mu: Tensor
    sigma: Tensor
    scalar: Tensor


class MultiAxisHead(nn.Module):
    """The head for mu and log sigma per axis, interleaved in the last layer's output."""

    def __init__(self, hidden_size: int, axes: int = len(AXES)) -> None:
        super().__init__()
        self.axes = axes
        self.proj = nn.Sequential(
            nn.Linear(hidden_size, 1024),
            nn.ReLU(),
            nn.Dropout(0.05),
            nn.Linear(1024, 16),
            nn.ReLU(),
            nn.Linear(16, 2 * axes),
        )

    def forward(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        pairs = self.proj(hidden).unflatten(-1, (self.axes, 2))
        log_sigma = pairs[..., 1].clamp(LOG_SIGMA_MIN, LOG_SIGMA_MAX)
        return pairs[..., 0], log_sigma.exp()


class ScalarHead(nn.Module):
    """The head for one unbounded rating."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.proj = nn.Linear(hidden_size, 1)

    def forward(self, hidden: Tensor) -> Tensor:
        rating: Tensor = self.proj(hidden)
        return rating.squeeze(-1)


def run_heads(multi_axis: MultiAxisHead, scalar: ScalarHead, hidden: Tensor) -> HeadOutput:
    """Return both heads' output for the reward token's hidden state (batch, hidden), in float32."""
    with torch.autocast(hidden.device.type, enabled=False):
        hidden = hidden.float()
        mu, sigma = multi_axis(hidden)
        return HeadOutput(mu, sigma, scalar(hidden))
