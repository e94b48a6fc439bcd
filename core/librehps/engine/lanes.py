"""Lanes: how many batches run on a device at the same time."""

import torch


def lanes_of(device: torch.device, threads: int) -> int:
    """Return the number of batches on the device at the same time; `threads` are torch's."""
    return {"cpu": threads, "cuda": 2}.get(device.type, 1)
