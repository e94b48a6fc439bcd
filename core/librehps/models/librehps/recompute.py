"""Layers whose activations can be recomputed in the backward pass, to save memory."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import nn

_recomputing = ContextVar("recomputing", default=False)


@contextmanager
def recomputing(enabled: bool) -> Iterator[None]:
    """A context in which layers recompute their activations also in evaluation mode, if enabled."""
    token = _recomputing.set(enabled)
    try:
        yield
    finally:
        _recomputing.reset(token)


class RecomputedLayer(nn.Module):
    """A layer that can keep only its inputs for the backward pass.

    It does so in training if `recompute` is set, and within `recomputing`.
    """

    recompute = False

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        call = super().__call__
        is_asked = (self.recompute and self.training) or _recomputing.get()
        if not (is_asked and torch.is_grad_enabled()):
            return call(*args, **kwargs)
        from torch.utils.checkpoint import checkpoint

        return checkpoint(call, *args, use_reentrant=False, **kwargs)
