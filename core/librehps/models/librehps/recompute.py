"""Layers whose activations can be recomputed in the backward pass, to save training memory."""

from typing import Any

import torch
from torch import nn


class RecomputedLayer(nn.Module):
    """A layer that keeps only its inputs for the backward pass, if `recompute` is set."""

    recompute = False

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        call = super().__call__
        if not (self.recompute and self.training and torch.is_grad_enabled()):
            return call(*args, **kwargs)
        from torch.utils.checkpoint import checkpoint

        return checkpoint(call, *args, use_reentrant=False, **kwargs)
