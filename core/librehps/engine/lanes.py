"""Lanes: how many batches run on a device at the same time."""

import torch


def threads_of_each(threads: int, devices: int) -> int:
    """Return the share of `threads` of each of several devices, rounded up."""
    return -(-threads // devices)


def lanes_of(device: torch.device, threads: int) -> int:
    """Return the number of batches on the device at the same time; `threads` are torch's."""
    return {"cpu": threads, "cuda": 2}.get(device.type, 1)
