"""Devices and dtypes: the reasons why a device cannot be used."""

import pytest
import torch

from librehps.errors import UsageError
from librehps.models.device import choose_device


def pretend(monkeypatch: pytest.MonkeyPatch, gpus: int, is_built: bool = True) -> None:
    """Make PyTorch report this many GPUs; a machine without any cannot have the real answer."""
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: is_built)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)


@pytest.mark.parametrize(
    ("device", "gpus", "is_built", "reason"),
    [
        ("cuda", 0, False, "this PyTorch build has no CUDA support"),
        ("cuda", 0, True, "no NVIDIA GPU or no driver found"),
        ("cuda:7", 1, True, "the only one is cuda:0"),
        ("cuda:7", 4, True, "found cuda:0 to cuda:3"),
    ],
)
def test_cuda_says_why(
    monkeypatch: pytest.MonkeyPatch, device: str, gpus: int, is_built: bool, reason: str
) -> None:
    pretend(monkeypatch, gpus, is_built)
    with pytest.raises(UsageError) as caught:
        choose_device(device)
    assert str(caught.value) == f"--device: {device} is not available on this machine ({reason})"


def test_a_device_may_be_an_object() -> None:
    assert choose_device(torch.device("cpu")) == (torch.device("cpu"), "as asked")
