"""Write a random checkpoint of the 4B's true size, in the published layout: 20.7 GB.

    python benchmarks/random_4b.py FOLDER
    python benchmarks/random_4b.py FOLDER --config tiny --layers 2 --shard-gb 0.002

Float32 shards with an index, `lm_head.weight` among them, config.json and the tokenizer of
LibreHPS-Tiny. Every value is normal with deviation 1.4 / sqrt(fan in), so that scores are finite
and differ from picture to picture. All tensors are cut from one block of 4 M random values, each
from another place of the block: a tensor larger than 16 MB repeats itself. Memory stays under 1 GB.
"""

import argparse
import json
import shutil
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any, BinaryIO, get_args

import numpy as np

from librehps.bench.configs import config_of
from librehps.bench.random_model import WEIGHT_GAIN
from librehps.choices import BenchConfig
from librehps.models.librehps.checkpoint import empty_model
from librehps.models.locate import EMBEDDED

FLOAT_BYTES = 4
BYTES_PER_GB = 1e9
# A prime: no width of a tensor divides it, so rows that are equal do not occur.
BLOCK_VALUES = 4_194_301
Shape = tuple[int, ...]


def config_with(name: str, layers: int | None) -> dict[str, Any]:
    """Return the config.json of a size, with `layers` layers of text and of vision if given."""
    config = deepcopy(config_of(name))
    if layers is not None:
        text, vision = config["text_config"], config["vision_config"]
        text.pop("layer_types", None)
        text["num_hidden_layers"] = layers
        vision["depth"] = min(layers, vision["depth"])
    return config


def tensor_shapes(config: dict[str, Any]) -> dict[str, Shape]:
    """Return the shape of each stored tensor by name, `lm_head.weight` included."""
    shapes = {n: tuple(p.shape) for n, p in empty_model(config, "sdpa").named_parameters()}
    text = config["text_config"]
    return {**shapes, "lm_head.weight": (text["vocab_size"], text["hidden_size"])}


def shards(shapes: dict[str, Shape], limit: float) -> list[list[str]]:
    """Return the names of each shard's tensors, in order; a shard has at most `limit` bytes."""
    parts: list[list[str]] = [[]]
    size = 0
    for name, shape in shapes.items():
        of_tensor = stored_bytes(shape)
        if parts[-1] and size + of_tensor > limit:
            parts.append([])
            size = 0
        parts[-1].append(name)
        size += of_tensor
    return parts


def stored_bytes(shape: Shape) -> int:
    return int(np.prod(shape)) * FLOAT_BYTES


def header(names: list[str], shapes: dict[str, Shape]) -> bytes:
    """Return the head of a safetensors file: its length, then JSON, padded to 8 bytes."""
    entries: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name in names:
        end = at + stored_bytes(shapes[name])
        entries[name] = {"dtype": "F32", "shape": shapes[name], "data_offsets": [at, end]}
        at = end
    text = json.dumps(entries).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def pieces(block: np.ndarray, start: int, count: int) -> Iterator[np.ndarray]:
    """Return `count` values of the block from `start` on, going round, in pieces."""
    while count:
        piece = block[start : start + count]
        yield piece
        count -= len(piece)
        start = 0


def write_tensor(file: BinaryIO, block: np.ndarray, start: int, shape: Shape) -> None:
    fan_in = int(np.prod(shape[1:])) if len(shape) > 1 else 1
    gain = np.float32(WEIGHT_GAIN / fan_in**0.5)
    for piece in pieces(block, start, int(np.prod(shape))):
        file.write((piece * gain).data)


def write_checkpoint(folder: Path, config: dict[str, Any], shard_bytes: float) -> None:
    """Write config, tokenizer, shards and index of random weights, the same ones each time."""
    rng = np.random.default_rng(0)
    block = rng.standard_normal(BLOCK_VALUES, dtype=np.float32)
    shapes = tensor_shapes(config)
    parts = shards(shapes, shard_bytes)
    weight_map: dict[str, str] = {}
    for number, names in enumerate(parts, 1):
        shard = folder / f"model-{number:05}-of-{len(parts):05}.safetensors"
        with shard.open("wb") as file:
            file.write(header(names, shapes))
            for name in names:
                write_tensor(file, block, int(rng.integers(BLOCK_VALUES)), shapes[name])
                weight_map[name] = shard.name
        print(f"{shard.name}: {shard.stat().st_size / BYTES_PER_GB:.2f} GB", flush=True)
    total = sum(map(stored_bytes, shapes.values()))
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=1))
    (folder / "config.json").write_text(json.dumps(config, indent=1))
    shutil.copy(EMBEDDED / "tokenizer.json", folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--config", choices=get_args(BenchConfig), default="4b")
    parser.add_argument("--layers", type=int, help="layers of text, for a smaller checkpoint")
    parser.add_argument("--shard-gb", type=float, default=5.0)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    config = config_with(arguments.config, arguments.layers)
    write_checkpoint(arguments.folder, config, arguments.shard_gb * BYTES_PER_GB)


if __name__ == "__main__":
    main()
