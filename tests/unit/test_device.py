"""Devices and dtypes: what `auto` chooses, and why a device cannot be used."""

from pathlib import Path

import pytest
import torch

from librehps import LibreHPS
from librehps.errors import UsageError
from librehps.models import device as device_module
from librehps.models.device import choose_device, choose_dtype

CPU = torch.device("cpu")


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


@pytest.fixture
def cpu_flags(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A file in place of /proc/cpuinfo; `auto` is not set by the environment."""
    monkeypatch.delenv("LIBREHPS_DTYPE")
    monkeypatch.setattr(device_module, "CPU_FLAGS", tmp_path / "cpuinfo")
    return tmp_path / "cpuinfo"


@pytest.mark.parametrize(
    ("line", "flag"),
    [
        ("flags\t\t: fpu avx2 avx512_bf16 amx_bf16 amx_tile", "amx_bf16"),
        ("flags\t\t: fpu avx512f avx512_bf16", "avx512_bf16"),
        ("Features\t: fp asimd i8mm bf16", "bf16"),
        ("flags\t\t: fpu avx2 avx512f avx512_vnni", None),
        ("Features\t: fp asimd", None),
        ("", None),
    ],
)
def test_auto_dtype_follows_the_flags_of_the_cpu(
    cpu_flags: Path, line: str, flag: str | None
) -> None:
    cpu_flags.write_text(f"processor\t: 0\nmodel name\t: bf16\n{line}\n\nprocessor\t: 1\n{line}\n")
    dtype, why = choose_dtype("auto", CPU)
    assert dtype == (torch.float32 if flag is None else torch.bfloat16)
    assert f"({flag})" in why if flag else "no CPU flag" in why
    assert choose_dtype("float32", CPU) == (torch.float32, "as asked")


def test_auto_dtype_where_the_flags_are_unknown(cpu_flags: Path) -> None:
    assert not cpu_flags.exists()
    assert choose_dtype(None, CPU)[0] == torch.float32


def test_a_model_on_a_cpu_with_bfloat16_arithmetic(cpu_flags: Path) -> None:
    cpu_flags.write_text("flags: amx_bf16\n")
    assert LibreHPS.foresee("tiny", device="cpu").dtype == "bfloat16"
    assert LibreHPS.foresee("tiny", device="cpu", dtype="float32").dtype == "float32"


def test_the_environment_sets_the_auto_dtype(
    cpu_flags: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cpu_flags.write_text("flags: amx_bf16\n")
    monkeypatch.setenv("LIBREHPS_DTYPE", "fp32")
    assert choose_dtype(None, CPU) == (torch.float32, "auto: LIBREHPS_DTYPE")
    assert choose_dtype("bf16", CPU) == (torch.bfloat16, "as asked")
    monkeypatch.setenv("LIBREHPS_DTYPE", "int4")
    with pytest.raises(UsageError, match=r"LIBREHPS_DTYPE: expected auto, float32.*, got 'int4'"):
        choose_dtype(None, CPU)
