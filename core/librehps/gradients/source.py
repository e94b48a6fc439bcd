"""A loaded model, as the source of gradients, and what it must be for that."""

from abc import ABC
from collections.abc import Sequence

import torch

from librehps.engine.devices.pool import DevicePool
from librehps.errors import UsageError
from librehps.models.base import Checkpoint, Differentiable, Model, Processor
from librehps.models.librehps.family import COMPILED
from librehps.settings import Settings


class GradientSource(ABC):
    """A loaded model whose network may keep the graph, see `differentiable`."""

    settings: Settings
    axes: tuple[str, ...]
    devices: Sequence[torch.device]
    batch_size: int
    _checkpoint: Checkpoint
    _model: Model
    _processor: Processor

    def differentiable(self) -> Differentiable:
        """Return the network that keeps the graph; raises UsageError if this model has none."""
        settings, model = self.settings, self._model
        if isinstance(model, DevicePool):
            raise UsageError(
                "no gradient: the model is in processes of its own, which send scores only",
                hint="Load the model on one device, without own_process, in each rank.",
            )
        if settings.weights != "full":
            raise UsageError(
                f"no gradient: unsupported with weights={settings.weights!r}",
                hint="Load the model with weights='full'; dtype='bfloat16' halves its memory.",
            )
        if settings.delta_rule.endswith(COMPILED):
            raise UsageError(
                "no gradient: the compiled kernels have no backward pass",
                hint="Load the model with compile=False.",
            )
        if not isinstance(model, Differentiable):
            raise UsageError("no gradient: unsupported for this model family")
        return model
