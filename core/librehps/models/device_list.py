"""Requests for several devices: `all`, `cuda:0,cuda:1`, or a list."""

from collections.abc import Sequence

import torch

from librehps.errors import UsageError
from librehps.models.device import check_cuda, named_device

ALL = "all"

DeviceName = str | torch.device
DeviceRequest = DeviceName | Sequence[DeviceName] | None


def devices_of(request: DeviceRequest) -> list[DeviceName]:
    """Return the requested devices; one is returned as it was named, for `choose_device`.

    `all` are all CUDA devices, without any the device that `auto` chooses. Raises UsageError where
    several devices cannot be used together.
    """
    names = _names(request)
    if names == [ALL]:
        count = torch.cuda.device_count()
        names = [f"cuda:{index}" for index in range(count)] if count > 1 else ["auto"]
    if len(names) == 1:
        return names
    devices = [_one_of_several(name) for name in names]
    if len({device.type for device in devices}) > 1:
        raise UsageError(f"--device: expected devices of one type, got {','.join(map(str, names))}")
    return [*devices]


def is_several(request: DeviceRequest) -> bool:
    """Return whether the request may be for more than one device."""
    names = _names(request)
    return len(names) > 1 or names == [ALL]


def _names(request: DeviceRequest) -> list[DeviceName]:
    if request is None or isinstance(request, torch.device):
        return [request or "auto"]
    names = request.split(",") if isinstance(request, str) else list(request)
    names = [name.strip() if isinstance(name, str) else name for name in names]
    if not names or "" in names:
        raise UsageError(f"--device: expected a device, or several as A,B; got {request!r}")
    return names


def _one_of_several(name: DeviceName) -> torch.device:
    device = named_device(name)
    if device.type == "cuda":
        check_cuda(device)
        # A context of CUDA in this process would only take memory from the others.
        return torch.device("cuda", device.index or 0)
    return torch.device(device.type)
