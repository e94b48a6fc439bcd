"""A preference file with real pictures: people prefer the brighter one."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from paths import CHECKPOINT


def brightness_pairs(folder: Path, count: int, prompts: int = 20) -> Path:
    """`count` pairs of small pictures over some prompts; gives the JSONL file."""
    rng = np.random.default_rng(3)
    rows = []
    for index in range(count):
        levels = rng.uniform(40, 215, 2)
        for side, level in zip("ab", levels, strict=True):
            noise = rng.integers(-20, 20, (32, 32, 3))
            pixels = (noise + level).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{index}{side}.png")
        rows.append(
            {
                "prompt": f"a scene, number {index % prompts}",
                "media_a": f"{index}a.png",
                "media_b": f"{index}b.png",
                "overall": float(levels[0] > levels[1]),
                "benchmark": "light",
                "severity": "mild" if abs(levels[0] - levels[1]) < 60 else "strong",
                "rating_a": levels[0] / 255,
                "rating_b": levels[1] / 255,
            }
        )
    return write_rows(folder / "pairs.jsonl", rows)


def write_rows(file: Path, rows: list[dict]) -> Path:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def metrics(output: Path) -> list[dict]:
    return [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]


def train_command(pairs: Path, output: Path, *extra: object, model: Path = CHECKPOINT) -> list[str]:
    fixed = ("train", pairs, "--model", model, "-o", output, "--device", "cpu")
    return list(map(str, (*fixed, *extra)))
