"""The JSON and weight files of a checkpoint folder, found without loading a tensor."""

import json
from pathlib import Path
from typing import Any

from librehps.errors import CheckpointError

MAX_LISTED_NAMES = 8
PICKLE_SUFFIXES = (".bin", ".pt", ".pth")


def read_json(path: Path) -> dict[str, Any]:
    """Return the JSON object in a checkpoint file; raises CheckpointError."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(
            f"{path} not found",
            hint="Check that this is the checkpoint's folder and that the download is complete.",
        ) from None
    except (ValueError, OSError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: expected a JSON object")
    return content


def shard_paths(folder: Path) -> list[Path]:
    """Return the weight files of a checkpoint; raises CheckpointError if a file is missing."""
    index = folder / "model.safetensors.index.json"
    if not index.exists():
        shards = sorted(folder.glob("*.safetensors"))
        if shards:
            return shards
        if any(any(folder.glob(f"*{suffix}")) for suffix in PICKLE_SUFFIXES):
            raise CheckpointError(
                f"{folder}: unsupported pickled weights ({', '.join(PICKLE_SUFFIXES)}); "
                "expected .safetensors",
                hint="Convert them to safetensors, or use the published checkpoint.",
            )
        raise CheckpointError(
            f"no .safetensors file in {folder}", hint="Check that the download is complete."
        )
    names = read_json(index).get("weight_map")
    if not isinstance(names, dict):
        raise CheckpointError(f"{index}: weight_map not found")
    outside = [str(name) for name in names.values() if str(name) != Path(str(name)).name]
    if outside:
        raise CheckpointError(f"{index}: paths outside its folder: {first_names(outside)}")
    shards = [folder / name for name in sorted(set(names.values()))]
    absent = [shard.name for shard in shards if not shard.exists()]
    if absent:
        raise CheckpointError(
            f"{index}: shards not found: {first_names(absent)}",
            hint="The download is incomplete: download the checkpoint again.",
        )
    return shards


def first_names(names: list[str]) -> str:
    """Return the first 8 names as text, with the number of the others."""
    left = len(names) - MAX_LISTED_NAMES
    return ", ".join(names[:MAX_LISTED_NAMES]) + (f" and {left} more" if left > 0 else "")
