"""Which attention runs, and why: chosen once, applied through `attn_implementation`."""

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
BLACKWELL, AMPERE = 10, 8
# Both packages import as `flash_attn`, so that only their distributions tell them apart.
FA4, FA2 = "flash-attn-4", "flash-attn"


@dataclass(frozen=True)
class Host:
    """What the choice depends on; `capability` is CUDA's, None elsewhere."""

    device: str
    dtype: torch.dtype
    capability: tuple[int, int] | None
    installed: frozenset[str]

    @classmethod
    def of(cls, device: torch.device, dtype: torch.dtype) -> "Host":
        """The machine that this process runs on."""
        cuda = device.type == "cuda"
        capability = torch.cuda.get_device_capability(device) if cuda else None
        installed = frozenset(name for name in (FA4, FA2) if _installed(name))
        return cls(device.type, dtype, capability, installed)


@dataclass(frozen=True)
class Attention:
    """A choice: the name `transformers` knows it by, and why."""

    implementation: str
    reason: str


def candidates(request: str, host: Host) -> list[Attention]:
    """What to try, in order; raises AttentionError where the request cannot be met here."""
    check_choice(request, choices.Attention, "attention", AttentionError)
    if request in ("sdpa", "eager"):
        return [Attention(request, "as asked")]
    obstacles = {"fa4": _fa4_obstacle(host), "fa2": _fa2_obstacle(host)}
    names = {"fa4": "flash_attention_4", "fa2": "flash_attention_2"}
    if request != "auto":
        if obstacles[request]:
            raise AttentionError(
                f"{request} cannot run here: {obstacles[request]}", hint="Use --attn auto."
            )
        return [Attention(names[request], "as asked")]
    reasons = [f"{name}: {why}" for name, why in obstacles.items() if why]
    chosen = [Attention(names[name], "auto") for name, why in obstacles.items() if not why]
    if obstacles["fa4"] and host.device == "cuda" and host.dtype != torch.float32:
        log.warning("FA4 is not used: %s", obstacles["fa4"])
    return [
        *chosen,
        Attention("sdpa", "; ".join(["auto", *reasons])),
        Attention("eager", "auto: SDPA failed"),
    ]


def apply(backbone: Any, choices: list[Attention], probe: Callable[[], object]) -> Attention:
    """Set the first choice with which `probe`, one small forward, succeeds.

    Raises AttentionError, with the reason, where none does.
    """
    failures: list[str] = []
    for choice in choices:
        try:
            backbone.set_attn_implementation(choice.implementation)
            probe()
        except (RuntimeError, ValueError, ImportError, TypeError, NotImplementedError) as error:
            first = (str(error).strip() or type(error).__name__).splitlines()[0]
            failures.append(f"{choice.implementation} failed its first forward: {first}")
            log.warning("%s", failures[-1])
            continue
        return Attention(choice.implementation, "; ".join([choice.reason, *failures]))
    raise AttentionError("; ".join(failures), hint="Use --attn sdpa.")


def _fa4_obstacle(host: Host) -> str | None:
    if (common := _flash_obstacle(host)) is not None:
        return common
    if host.capability is None or host.capability[0] != BLACKWELL:
        found = "none" if host.capability is None else ".".join(map(str, host.capability))
        return f"needs Blackwell (compute capability 10.x), found {found}"
    return None if FA4 in host.installed else f"the package {FA4} is not installed"


def _fa2_obstacle(host: Host) -> str | None:
    if (common := _flash_obstacle(host)) is not None:
        return common
    if host.capability is None or host.capability[0] < AMPERE:
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
