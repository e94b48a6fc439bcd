"""The probe of a server's device: a small forward of its model."""

from contextlib import nullcontext

import torch
from torch import Tensor

from librehps.engine.device import forward_or_full
from librehps.engine.devices.pool import DevicePool
from librehps.models.base import Prepared
from librehps.scorer import LibreHPS
from librehps.serve.device_watch import DeviceWatch
from librehps.types import Item

SIDE_PX = 64


def watch_of(scorer: LibreHPS) -> DeviceWatch:
    """Return a watch over the model's device, or over all devices of a pool."""
    engine = scorer.engine()
    model, item = engine.model, probe_input(scorer)
    if not isinstance(model, DevicePool):
        return DeviceWatch(lambda: forward_or_full(model, [item], nullcontext()), item.cost)

    pool: DevicePool = model

    def probe() -> None:
        # Within the watch's timeout: one hung device does not make the server unready.
        pool.probe(item, watch.patience.timeout * 0.6 if watch.patience.probe else None)

    watch = DeviceWatch(probe, item.cost)
    pool.batch_timeout = watch.patience_of_batch
    return watch


def probe_input(scorer: LibreHPS) -> Prepared:
    """Return the model input of a small grey picture."""
    picture: Tensor = torch.full((3, SIDE_PX, SIDE_PX), 0.5)
    ready = scorer.engine().prepare(Item("probe", picture, "a grey square"))
    if ready.decoded is None:
        raise ready.error or AssertionError("no input and no error")
    return ready.decoded.prepared


def device_states(scorer: LibreHPS, watch: DeviceWatch | None) -> list[dict[str, str]]:
    """Return each device and its state."""
    model = scorer.engine().model
    if isinstance(model, DevicePool):
        return [{"device": name, "status": state} for name, state in model.states()]
    return [{"device": str(model.device), "status": watch.status if watch else "loading"}]


def device_error_type(status: str) -> str:
    """Return the error_type of an answer while the device has this status."""
    return f"Device{status.title()}"
