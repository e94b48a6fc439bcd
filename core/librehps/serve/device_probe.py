"""The probe of a server's device: a small forward of its model."""

import torch
from torch import Tensor

from librehps.engine.device import probe_forward
from librehps.engine.devices.pool import BATCH_ATTEMPTS, DevicePool, model_devices
from librehps.engine.engine import LocalEngine
from librehps.models.base import Model, Prepared
from librehps.serve.device_watch import DeviceWatch
from librehps.types import Item

SIDE_PX = 64
# The pool kills a process whose batch is overdue, and scores the batch again: before that the
# server is ready, since other devices work.
POOL_ATTEMPTS = BATCH_ATTEMPTS + 1


def watch_of(engine: LocalEngine) -> DeviceWatch:
    """Return a watch over the model's device, or over all devices of a pool."""
    model, item = engine.model, probe_input(engine)
    name = ", ".join(map(str, model_devices(model)))
    if not isinstance(model, DevicePool):
        return DeviceWatch(lambda: probe_forward(model, [item]), item.cost, name=name)

    pool: DevicePool = model

    def probe() -> None:
        pool.probe(item, watch.patience.hung)

    # Beside a single device nothing else works while its process hangs.
    attempts = POOL_ATTEMPTS if len(pool.devices) > 1 else 1
    watch = DeviceWatch(probe, item.cost, name=name, attempts=attempts, is_pool=True)
    pool.batch_times = watch
    return watch


def stop_watching(model: Model, watch: DeviceWatch) -> None:
    """Close the watch; the model is then as before `watch_of`."""
    watch.close()
    if isinstance(model, DevicePool):
        model.batch_times = None


def probe_input(engine: LocalEngine) -> Prepared:
    """Return the model input of a small grey picture."""
    picture: Tensor = torch.full((3, SIDE_PX, SIDE_PX), 0.5)
    ready = engine.prepare(Item("probe", picture, "a grey square"))
    if ready.decoded is None:
        raise ready.error or AssertionError("no input and no error")
    return ready.decoded.prepared


def device_states(model: Model, watch: DeviceWatch | None) -> list[dict[str, str]]:
    """Return each device and its state."""
    if isinstance(model, DevicePool):
        return [{"device": name, "status": state} for name, state in model.states()]
    return [{"device": str(model.device), "status": watch.status if watch else "loading"}]
