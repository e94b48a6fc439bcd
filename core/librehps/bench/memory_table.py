"""The memory that a model needs in each mode on a device, without its weights."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from librehps.bench.configs import config_of
from librehps.engine.lanes import lanes_of, threads_of_each
from librehps.errors import DownloadNeededError, ModelNotFoundError
from librehps.models.device import choose_device, choose_dtype
from librehps.models.device_list import DeviceRequest, devices_of
from librehps.models.families import footprint_of
from librehps.models.free_memory import free_memory
from librehps.models.librehps.footprint import footprint_of as librehps_footprint
from librehps.models.locate import locate_config
from librehps.models.memory_need import Footprint, modes_on, size_text
from librehps.scorer import BATCH_SIZES, CPU_BATCH_TOKENS
from librehps.settings import DEFAULT_MODEL


@dataclass(frozen=True)
class ModeMemory:
    """The memory of one mode, in bytes: weights, a forward of `images` images, and their sum.

    `free` is the free memory of the device, None if it is unknown; of several devices the least
    that a process has. `flags` ask for the mode.
    """

    weights: str
    dtype: str
    flags: str
    device: str
    images: int
    weight_bytes: int
    activation_bytes: int
    total_bytes: int
    free_bytes: int | None
    fits: bool | None

    @property
    def texts(self) -> tuple[str, str, str, str, str]:
        """The bytes of weights, forward, both and free memory as text, and whether they fit."""
        known = "unknown" if self.free_bytes is None else size_text(self.free_bytes)
        return (
            size_text(self.weight_bytes),
            size_text(self.activation_bytes),
            size_text(self.total_bytes),
            known,
            {True: "yes", False: "no", None: "unknown"}[self.fits],
        )


def memory_table(
    model: str | Path = DEFAULT_MODEL,
    *,
    batch_size: int | None = None,
    device: DeviceRequest = None,
    dtype: str | None = None,
    revision: str | None = None,
) -> list[ModeMemory]:
    """Return what each mode needs on a device: full in two dtypes, int8, and nf4 where it runs.

    Reads config.json alone; the published model's need not be downloaded. batch_size: images in a
    batch (None: by device). dtype: that of what is not quantised. Raises ModelError, UsageError.
    """
    places = [choose_device(name)[0] for name in devices_of(device)]
    place = places[0]
    kind, _ = choose_dtype(dtype, place)
    footprint = _footprint(model, revision)
    images, free = _images(footprint, places, batch_size), _least_free(places)
    rows = []
    for mode in modes_on(place, kind):
        need = footprint.need(mode, place, images)
        rows.append(
            ModeMemory(
                weights=mode.weights,
                dtype=mode.dtype_name,
                flags=mode.flags,
                device=", ".join(map(str, places)),
                images=images,
                weight_bytes=need.weights,
                activation_bytes=need.activations,
                total_bytes=need.total,
                free_bytes=free,
                fits=None if free is None else need.total <= free,
            )
        )
    return rows


def _footprint(model: str | Path, revision: str | None) -> Footprint:
    try:
        return footprint_of(locate_config(model, revision, download=model != DEFAULT_MODEL))
    except (DownloadNeededError, ModelNotFoundError):
        if model != DEFAULT_MODEL:
            raise
    return librehps_footprint(config_of("4b"))


def _least_free(devices: Sequence[torch.device]) -> int | None:
    """Return the least free memory that one of the models on these devices has."""
    shares = []
    for device, models in Counter(devices).items():
        if (free := free_memory(device)) is None:
            return None
        shares.append(free // models)
    return min(shares)


def _images(footprint: Footprint, devices: Sequence[torch.device], batch_size: int | None) -> int:
    """Return how many images a process has in memory: on a CPU, a batch on each of its cores."""
    device = devices[0]
    if device.type != "cpu":
        return batch_size or BATCH_SIZES.get(device.type, 8)
    batch = batch_size or max(1, CPU_BATCH_TOKENS // footprint.item.tokens)
    return batch * lanes_of(device, threads_of_each(torch.get_num_threads(), len(devices)))
