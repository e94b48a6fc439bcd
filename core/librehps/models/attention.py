"""Attention backends: the choice for a machine, and a first forward that tests the choice."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from typing import Any

import torch

from librehps import choices
from librehps.choices import check_choice
from librehps.errors import AttentionError

log = logging.getLogger("librehps")

# Compute capabilities: FA4 is written for Blackwell, FA2 needs Ampere or newer.
FA4_CAPABILITY, FA2_CAPABILITY = 10, 8
# Both packages import as `flash_attn`: only the names of their distributions differ.
FA4, FA2 = "flash-attn-4", "flash-attn"


@dataclass(frozen=True)
class Host:
    """A machine as the choice sees it; `capability` is CUDA's, None on other devices."""

    device: str
    dtype: torch.dtype
    capability: tuple[int, int] | None
    installed: frozenset[str]

    @classmethod
    def of(cls, device: torch.device, dtype: torch.dtype) -> "Host":
        """Return the machine that this process runs on."""
        cuda = device.type == "cuda"
        capability = torch.cuda.get_device_capability(device) if cuda else None
        installed = frozenset(name for name in (FA4, FA2) if _installed(name))
        return cls(device.type, dtype, capability, installed)


@dataclass(frozen=True)
class Attention:
    """A chosen backend: its name in `transformers`, and why it was chosen."""

    implementation: str
    reason: str


def candidates(request: str, host: Host) -> list[Attention]:
    """Return the backends to try, in order; raises AttentionError for an unavailable request."""
    check_choice(request, choices.Attention, "attention", AttentionError)
    if request in ("sdpa", "eager"):
        return [Attention(request, "as asked")]
    obstacles = {"fa4": _fa4_obstacle(host), "fa2": _fa2_obstacle(host)}
    names = {"fa4": "flash_attention_4", "fa2": "flash_attention_2"}
    if request != "auto":
        if obstacles[request]:
            raise AttentionError(
                f"--attn: {request} is not available here ({obstacles[request]})",
                hint="Use --attn auto.",
            )
        return [Attention(names[request], "as asked")]
    reasons = [f"{name}: {why}" for name, why in obstacles.items() if why]
    chosen = [Attention(names[name], "auto") for name, why in obstacles.items() if not why]
    if obstacles["fa4"] and host.device == "cuda" and host.dtype != torch.float32:
        log.warning("attention fa4 is not used: %s", obstacles["fa4"])
    return [
        *chosen,
        Attention("sdpa", "; ".join(["auto", *reasons])),
        Attention("eager", "auto: SDPA failed"),
    ]


def apply(backbone: Any, choices: list[Attention], probe: Callable[[], object]) -> Attention:
    """Set the first backend with which `probe`, one small forward, succeeds, and return it.

    Raises AttentionError with the reasons if none does.
    """
    failures: list[str] = []
    for choice in choices:
        try:
            backbone.set_attn_implementation(choice.implementation)
            probe()
        except (RuntimeError, ValueError, ImportError, TypeError, NotImplementedError) as error:
            first = (str(error).strip() or type(error).__name__).splitlines()[0]
            failures.append(f"attention {choice.implementation} failed its first forward: {first}")
            log.warning("%s", failures[-1])
            continue
        return Attention(choice.implementation, "; ".join([choice.reason, *failures]))
    raise AttentionError("; ".join(failures), hint="Use --attn sdpa.")


def _fa4_obstacle(host: Host) -> str | None:
    if (common := _flash_obstacle(host)) is not None:
        return common
    if host.capability is None or host.capability[0] != FA4_CAPABILITY:
        found = "none" if host.capability is None else ".".join(map(str, host.capability))
        return f"needs Blackwell (compute capability 10.x), found {found}"
    return None if FA4 in host.installed else f"the package {FA4} is not installed"


def _fa2_obstacle(host: Host) -> str | None:
    if (common := _flash_obstacle(host)) is not None:
        return common
    if host.capability is None or host.capability[0] < FA2_CAPABILITY:
        return "needs compute capability 8.0 or newer"
    return None if FA2 in host.installed else f"the package {FA2} is not installed"


def _flash_obstacle(host: Host) -> str | None:
    if host.device != "cuda":
        return f"needs CUDA, the device is {host.device}"
    if host.dtype == torch.float32:
        return "flash attention takes no float32"
    return None


def _installed(name: str) -> bool:
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True
