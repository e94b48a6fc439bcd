"""The arithmetic of `benchmarks/scale.py`: 100 million and a billion images on 64 GPUs.

Nothing here was run at this size: measured rates are multiplied.
"""

import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from librehps import Item, LibreHPS
from librehps.scores.parts import MAX_PART_ROWS

IMAGES = (100_000_000, 1_000_000_000)
GPUS, NODE_GPUS, NODE_CORES = 64, 8, 96
# 790 TFLOP/s (bf16, dense) over the 2.27 TFLOP of an image of 236 tokens: an upper limit.
GPU_IMAGES_S = 349
PIXEL_BUDGET = 200_704
# Assumed sizes of a file of 1024 x 1024.
FILE_MB = {"JPEG": 0.3, "PNG": 1.5}
# Listing a bucket through s3fs (docs/remote.md).
BUCKET_US, BUCKET_BYTES = 150, 1300
# The driver's CPU time while actors score, from `benchmarks/ray_overhead.py`: 14 us x 256 rows.
DRIVER_PART_S = 0.0036
HEAD_MEMORY_GB = 64
DECODED_IMAGES = 12

Runs = Sequence[Mapping[str, Any]]


def show(sizes: Sequence[int], runs: Runs) -> None:
    """Print the tables from the rates of the largest size."""
    decode = {name: decode_s(name) for name in FILE_MB}
    terms, disk = runs[-1]["terms"], runs[-1]["disk"]
    list_us = terms["listing"]["us"]
    id_bytes = bytes_a_row("listing", sizes, runs)
    print(f"\n## On paper, from the rates at {sizes[-1]:,} rows: {GPUS} GPUs\n")
    print("| | " + " | ".join(f"{n:,} images" for n in IMAGES) + " |")
    print("|---" * (1 + len(IMAGES)) + "|")
    rate = GPUS * GPU_IMAGES_S
    line("scoring, at the upper limit of the GPUs", lambda n: hours(n / rate))
    line(f"listing a manifest, one core ({list_us:.1f} µs)", lambda n: hours(n * list_us / 1e6))
    line(f"listing a bucket, one core ({BUCKET_US} µs)", lambda n: hours(n * BUCKET_US / 1e6))
    line(f"memory of the listing ({id_bytes:.0f} bytes)", lambda n: gb(n * id_bytes))
    line(f"memory of a bucket's listing ({BUCKET_BYTES} bytes)", lambda n: gb(n * BUCKET_BYTES))
    line("listing on disk", lambda n: gb(n * disk["listing"]))
    line("output", lambda n: gb(n * disk["output"]))
    parts_s = terms["Ray, driver: last check, µs a part"]["us"] / 1e6
    line(f"parts of {MAX_PART_ROWS:,} rows", lambda n: f"{-(-n // MAX_PART_ROWS):,}")
    line("last check of all parts", lambda n: f"{n / MAX_PART_ROWS * parts_s:.0f} s")
    for name, size in FILE_MB.items():
        line(f"read from storage, {size} MB a {name}", lambda n, s=size: f"{n * s / 1e6:,.0f} TB")
    show_rates(decode, actor_us(terms))
    show_limits(list_us, id_bytes, decode)


def show_rates(decode: Mapping[str, float], each_us: float) -> None:
    """Print what a GPU, a node and the cluster need at the upper limit."""
    counts = (1, NODE_GPUS, GPUS)
    print("\n| | a GPU | a node | the cluster |\n|---|---|---|---|")
    line("images/s, upper limit", lambda n: f"{n * GPU_IMAGES_S:,}", counts)
    for name, seconds in decode.items():
        need = GPU_IMAGES_S * seconds
        line(
            f"cores that decode {name} ({1e3 * seconds:.1f} ms)",
            lambda n, x=need: f"{n * x:.1f}",
            counts,
        )
    need = GPU_IMAGES_S * each_us / 1e6
    line(f"cores for all else ({each_us:.0f} µs)", lambda n: f"{n * need:.2f}", counts)
    for name, size in FILE_MB.items():
        line(
            f"GB/s from storage, {name}",
            lambda n, s=size: f"{n * GPU_IMAGES_S * s / 1e3:.2f}",
            counts,
        )
    part_rate = GPU_IMAGES_S / MAX_PART_ROWS
    line("parts a second", lambda n: f"{n * part_rate:.2f}", counts)


def show_limits(list_us: float, id_bytes: float, decode: Mapping[str, float]) -> None:
    """Print where each term breaks."""
    memory = HEAD_MEMORY_GB * 1e9
    print("\n| limit | reached at |\n|---|---|")
    for name, us in (("a bucket", BUCKET_US), ("a manifest", list_us)):
        count = 1e6 / us / GPU_IMAGES_S
        print(f"| listing {name} takes as long as scoring | {count:,.0f} GPUs |")
    for name, each in (("a bucket's listing", BUCKET_BYTES), ("a listing", id_bytes)):
        count = memory / each / 1e6
        print(f"| {name} fills {HEAD_MEMORY_GB} GB of memory | {count:,.0f} million images |")
    for name, seconds in decode.items():
        count = NODE_CORES / seconds / GPU_IMAGES_S
        print(f"| {NODE_CORES} cores decode {name} for all GPUs of a node | {count:.1f} GPUs |")
    count, each = MAX_PART_ROWS / DRIVER_PART_S / GPU_IMAGES_S, 1e3 * DRIVER_PART_S
    print(f"| a core of Ray's driver is busy ({each:.1f} ms a part) | {count:,.0f} GPUs |")


def actor_us(terms: Mapping[str, Mapping[str, float]]) -> float:
    """Return µs of a row in an actor: the engine, and writing the part in place of the journal."""
    whole = terms["`score_to`: without the constant"]["us"]
    local = ("listing", "rows: into the journal", "finish: writing the output")
    part = terms["Ray, actor: writing a part of 16,384 rows"]["us"]
    return whole - sum(terms[name]["us"] for name in local) + part


def bytes_a_row(term: str, sizes: Sequence[int], runs: Runs) -> float:
    """Return the memory that a term needs for each further row."""
    first, last = (runs[at]["terms"][term]["peak_mb"] for at in (-2, -1))
    return (last - first) * 2**20 / (sizes[-1] - sizes[-2])


def decode_s(name: str) -> float:
    """Return seconds of CPU from a file of 1024 x 1024 to the model's input, in the median."""
    scorer = LibreHPS.from_pretrained("tiny", device="cpu")
    decoder = scorer._decoder(pixel_budget=PIXEL_BUDGET)
    used = []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, f"x.{name.lower()}")
        y, x = np.mgrid[0:1024, 0:1024] / 1024
        waves = np.stack([np.sin(6 * x * (c + 1)) + np.cos(5 * y * (c + 1)) for c in range(3)], -1)
        noise = np.random.default_rng(0).normal(0, 4, waves.shape)
        Image.fromarray((128 + 50 * waves + noise).clip(0, 255).astype(np.uint8)).save(
            file, **({"quality": 90} if name == "JPEG" else {})
        )
        for _ in range(DECODED_IMAGES):
            start = time.process_time()
            decoder.decode(Item(file.name, file, "a red circle on a table", "image"))
            used.append(time.process_time() - start)
    return float(np.median(used))


def line(name: str, cell: Any, counts: Sequence[int] = IMAGES) -> None:
    print(f"| {name} | {' | '.join(cell(n) for n in counts)} |")


def hours(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def gb(size: float) -> str:
    return f"{size / 1e9:,.1f} GB"
