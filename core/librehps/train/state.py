"""The saved state of a training run, to resume it: tensors in safetensors, the rest in JSON."""

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from librehps.errors import CheckpointError
from librehps.files import sync, write_whole

STATE_FILE, TENSORS_FILE = "state.json", "state.safetensors"


def seed_step(seed: int, step: int, process: int = 0) -> None:
    """Seed torch for one step, so that a resumed run draws the same random numbers."""
    torch.manual_seed((seed * 1_000_003 + step) * 1_009 + process)


def save_state(
    folder: Path,
    parameters: Mapping[str, nn.Parameter],
    optimiser: torch.optim.Optimizer,
    progress: Mapping[str, Any],
) -> None:
    """Write parameters, optimiser moments and `progress`; a kill leaves the old state intact."""
    tensors = {f"parameter/{name}": p.detach().cpu().contiguous() for name, p in parameters.items()}
    for name, parameter in parameters.items():
        for key, value in optimiser.state.get(parameter, {}).items():
            tensors[f"optimiser/{key}/{name}"] = torch.as_tensor(value).cpu().contiguous()
    fresh = folder.with_name(folder.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    save_file(tensors, fresh / TENSORS_FILE)
    sync(fresh / TENSORS_FILE)
    write_whole(fresh / STATE_FILE, json.dumps(progress, indent=1) + "\n")
    old = folder.with_name(folder.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    fresh.rename(folder)
    sync(folder.absolute().parent)
    shutil.rmtree(old, ignore_errors=True)


def find_state(folder: Path) -> Path | None:
    """Return the folder of the saved state, or of the previous state after a kill; else None."""
    old = folder.with_name(folder.name + ".old")
    return next((place for place in (folder, old) if (place / STATE_FILE).exists()), None)


def load_state(
    folder: Path, parameters: Mapping[str, nn.Parameter], optimiser: torch.optim.Optimizer
) -> dict[str, Any]:
    """Load saved parameters and optimiser moments in place; returns the saved progress.

    Raises CheckpointError if the state has other parameters.
    """
    saved = load_file(folder / TENSORS_FILE)
    wanted = {f"parameter/{name}" for name in parameters}
    held = {name for name in saved if name.startswith("parameter/")}
    if wanted != held:
        odd = ", ".join(sorted(wanted ^ held)[:4])
        raise CheckpointError(
            f"cannot resume {folder}: different parameters: {odd}",
            hint="Use the options the run was started with, or another output.",
        )
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(saved[f"parameter/{name}"])
    for key, tensor in saved.items():
        kind, _, rest = key.partition("/")
        if kind == "optimiser":
            moment, _, name = rest.partition("/")
            parameter = parameters[name]
            # The step counts stay on the CPU, as the optimiser keeps them.
            place = parameter.device if tensor.ndim else tensor.device
            optimiser.state[parameter][moment] = tensor.to(place)
    return read_progress(folder)


def read_progress(folder: Path) -> dict[str, Any]:
    """Return the progress saved in the state's JSON file."""
    progress: dict[str, Any] = json.loads((folder / STATE_FILE).read_text(encoding="utf-8"))
    return progress


def log_line(file: Path, line: Mapping[str, Any]) -> None:
    """Append a JSON line to the file."""
    with file.open("a", encoding="utf-8") as out:
        out.write(json.dumps(line) + "\n")


def keep_lines(file: Path, last_step: int) -> None:
    """Drop the lines of steps after `last_step`: a resumed run writes them again."""
    if not file.exists():
        return
    kept = [line for line in _whole(file) if json.loads(line)["step"] <= last_step]
    write_whole(file, "".join(f"{line}\n" for line in kept))


def _whole(file: Path) -> Iterator[str]:
    """Yield the complete lines of the file; a kill may leave half a line."""
    text = file.read_text(encoding="utf-8")
    yield from text[: text.rfind("\n") + 1].splitlines()
