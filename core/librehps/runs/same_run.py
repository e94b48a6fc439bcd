"""Checks that a run is continued with the settings and the request of the earlier run."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from librehps.errors import UsageError
from librehps.runs.moved import check_folder
from librehps.settings import Settings, comparable, differing
from librehps.storage.url_path import AnyPath

OVERWRITE_HINT = "Use the same options, or --overwrite to start over."
# Kernels that librehps and older versions of it compute by; the environment turns them off.
TORCH_KERNELS, OLD_KERNELS = "torch", "fla"
KERNELS_HINT = "Use the same options and set LIBREHPS_KERNELS=torch, or --overwrite to start over."
NUMERICS_HINT = "Another version of librehps wrote it: use that version, or --overwrite."


def check_same_settings(
    before: Mapping[str, Any], now: Settings, place: AnyPath, verb: str
) -> None:
    """Raise UsageError where the settings differ from the earlier run, naming each difference."""
    names = differing(before, now.record())
    _refuse(names, comparable(before), now.record(), place, verb, str)


def check_same_request(
    before: Mapping[str, Any], now: Mapping[str, Any], place: AnyPath, verb: str = "resume"
) -> None:
    """Raise UsageError where the request differs from the earlier run, naming each difference."""
    names = {**before, **now}.keys() - {"folder"}
    _refuse(sorted(n for n in names if before.get(n) != now.get(n)), before, now, place, verb)
    check_folder(before, now, place)


def _refuse(
    names: Sequence[str],
    before: Mapping[str, Any],
    now: Mapping[str, Any],
    place: AnyPath,
    verb: str,
    shown: Callable[[Any], str] = repr,
) -> None:
    if names:
        pairs = "; ".join(f"{k} {shown(before.get(k))}, now {shown(now.get(k))}" for k in names)
        raise UsageError(f"cannot {verb} {place}: started with {pairs}", hint=_hint(names, before))


def _hint(names: Sequence[str], before: Mapping[str, Any]) -> str:
    kernels = before.get("delta_rule") if "delta_rule" in names else None
    if "numerics" in names or kernels == OLD_KERNELS:
        return NUMERICS_HINT
    return KERNELS_HINT if kernels == TORCH_KERNELS else OVERWRITE_HINT
