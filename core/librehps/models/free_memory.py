"""Free memory of a device: what the system, a container and a process limit leave."""

import os
from collections.abc import Iterator
from pathlib import Path

import torch

CONTROL_GROUPS, MEMBERSHIP = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
# Files of a control group of version 2 and 1: limit, use, and the cached files in memory.stat.
V2_FILES = ("memory.max", "memory.current", ("inactive_file", "active_file"))
V1_FILES = (
    "memory.limit_in_bytes",
    "memory.usage_in_bytes",
    ("total_inactive_file", "total_active_file"),
)


def free_memory(device: torch.device) -> int | None:
    """Return the bytes that a process can still take on the device, None if they are unknown."""
    # An integrated GPU has the system's memory, of which CUDA counts cached files as used.
    if device.type == "cuda" and not torch.cuda.get_device_properties(device).is_integrated:
        # PyTorch keeps what deleted tensors held, of an earlier model for example, for new ones.
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + kept
    bounds = [_system_free(), control_group_free(), _address_space_free()]
    return min((bound for bound in bounds if bound is not None), default=None)


def _system_free() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        if line.startswith("MemAvailable"):
            return int(line.split()[1]) * 1024
    # Not Linux, or without that line: all of the memory is an upper bound.
    if "SC_PHYS_PAGES" not in getattr(os, "sysconf_names", {}):
        return None
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def control_group_free(root: Path = CONTROL_GROUPS, membership: Path = MEMBERSHIP) -> int | None:
    """Return the bytes free within the memory limits of a container, None without a limit.

    `root`: where control groups are mounted; `membership`: the file that names the process's own.
    """
    found = [
        _free_in(folder, *files)
        for mount, path, files in _memberships(root, membership)
        for folder in _with_parents(mount, path)
    ]
    return min((free for free in found if free is not None), default=None)


_Files = tuple[str, str, tuple[str, str]]


def _memberships(root: Path, membership: Path) -> Iterator[tuple[Path, str, _Files]]:
    """Yield (mount point, path below it, file names) of each memory controller."""
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        number, controllers, path = line.split(":", 2)
        if number == "0":
            yield root, path, V2_FILES
        elif "memory" in controllers.split(","):
            yield root / "memory", path, V1_FILES


def _with_parents(mount: Path, path: str) -> list[Path]:
    """Return the folders of a group and of the groups around it, whose limits hold too.

    A container may see its own group at the mount point, under the path that its host has.
    """
    own = mount / path.strip("/")
    return [own, *(folder for folder in own.parents if folder.is_relative_to(mount))]


def _free_in(folder: Path, limit: str, use: str, cached: tuple[str, str]) -> int | None:
    try:
        allowed = (folder / limit).read_text().strip()
        used = int((folder / use).read_text())
        lines = (folder / "memory.stat").read_text().splitlines()
        stat = dict(line.split() for line in lines)
        # Cached files count as used, but the kernel drops them when memory is needed.
        kept = sum(int(stat.get(name, 0)) for name in cached)
        return None if allowed == "max" else max(0, int(allowed) - used + kept)
    except (OSError, ValueError):
        return None


def _address_space_free() -> int | None:
    """Return the bytes left of `ulimit -v`, None without a limit."""
    try:
        import resource

        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except (ImportError, OSError):
        return None
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return (
        None
        if limit == resource.RLIM_INFINITY
        else max(0, limit - pages * os.sysconf("SC_PAGE_SIZE"))
    )
