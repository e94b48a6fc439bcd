"""The two reward heads, in float32 whatever the backbone runs in."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from librehps.types import AXES

# Bounds the published head puts on log sigma.
LOG_SIGMA_MIN, LOG_SIGMA_MAX = -10.0, 2.0


class HeadOutput(NamedTuple):
    """mu and sigma of shape (batch, axes), scalar of shape (batch,), all float32."""

    mu: Tensor
    sigma: Tensor
    scalar: Tensor


class MultiAxisHead(nn.Module):
    """mu and log sigma per axis, interleaved in the last layer's outputs."""

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
    """One unbounded rating."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.proj = nn.Linear(hidden_size, 1)

    def forward(self, hidden: Tensor) -> Tensor:
        rating: Tensor = self.proj(hidden)
        return rating.squeeze(-1)


def run_heads(multi_axis: MultiAxisHead, scalar: ScalarHead, hidden: Tensor) -> HeadOutput:
    """Both heads on the reward token's hidden state, (batch, hidden), with autocast off."""
    with torch.autocast(hidden.device.type, enabled=False):
        hidden = hidden.float()
        mu, sigma = multi_axis(hidden)
        return HeadOutput(mu, sigma, scalar(hidden))
