"""Building blocks of the text model and the vision tower."""

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


def empty_embedding(rows: int, width: int) -> nn.Embedding:
    """Return an embedding whose values are to be loaded.

    Random values on the meta device would import torch's compiler, which takes seconds.
    """
    return nn.Embedding.from_pretrained(torch.empty(rows, width), freeze=False)
