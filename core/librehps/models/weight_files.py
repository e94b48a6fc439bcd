"""The files of a checkpoint's folder, looked at without loading a tensor."""

import json
from pathlib import Path
from typing import Any

from librehps.errors import CheckpointError

LISTED = 8
PICKLED = (".bin", ".pt", ".pth")


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a checkpoint file; raises CheckpointError."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(
            f"{path} is missing", hint="Is this the checkpoint's folder, and its download complete?"
        ) from None
    except (ValueError, OSError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} does not hold a JSON object")
    return content


def shard_paths(folder: Path) -> list[Path]:
    """The weights' files of a checkpoint, all of them there; raises CheckpointError."""
    index = folder / "model.safetensors.index.json"
    if not index.exists():
        shards = sorted(folder.glob("*.safetensors"))
        if shards:
            return shards
        if any(any(folder.glob(f"*{suffix}")) for suffix in PICKLED):
            raise CheckpointError(
                f"{folder} holds pickled weights only ({', '.join(PICKLED)}), which are never "
                "opened",
                hint="Convert them to safetensors, or use the published checkpoint.",
            )
        raise CheckpointError(
            f"{folder} holds no .safetensors file", hint="Is the download complete?"
        )
    names = read_json(index).get("weight_map")
    if not isinstance(names, dict):
        raise CheckpointError(f"{index} has no weight_map")
    outside = [str(name) for name in names.values() if str(name) != Path(str(name)).name]
    if outside:
        raise CheckpointError(f"{index} points out of its folder: {some_of(outside)}")
    shards = [folder / name for name in sorted(set(names.values()))]
    absent = [shard.name for shard in shards if not shard.exists()]
    if absent:
        raise CheckpointError(
            f"{index} names shards that are not there: {some_of(absent)}",
            hint="The download was torn: fetch the checkpoint again.",
        )
    return shards


def some_of(names: list[str]) -> str:
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + more
