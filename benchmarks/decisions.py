"""How long decisions on many scored rows take, each command in a process of its own.

    python benchmarks/decisions.py [--rows 200000]

Writes rows of 20 generators and ten prompts for each thousand, and prints seconds and megabytes.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from librehps.types import AXES

GENERATORS = 20
COMMANDS = {
    "filter": ("filter", "--top", "10%", "--per", "prompt", "-o", "kept.parquet"),
    "best-of-n": ("best-of-n", "--per", "prompt", "--json", "-q"),
    "leaderboard": ("leaderboard", "--by", "generator", "--json", "-q"),
    "report": ("report", "--pictures", "0", "-q", "-o", "report.html"),
}


def write_rows(file: Path, count: int) -> None:
    """Scored rows with random scores, as `librehps score` writes them."""
    rng = np.random.default_rng(0)
    prompts = np.arange(count) // GENERATORS % max(1, count // 100)
    columns = {
        "id": [f"{i:07d}.png" for i in range(count)],
        "media": [f"renders/{i:07d}.png" for i in range(count)],
        "kind": ["image"] * count,
        "prompt": [f"a prompt of some words, number {at}" for at in prompts],
        "generator": [f"generator-{i % GENERATORS}" for i in range(count)],
        "status": ["ok"] * count,
        "settings": ["0123456789ab"] * count,
    }
    for axis in AXES[:4]:
        mu = rng.normal(size=count).astype(np.float32)
        columns |= {f"{axis}_mu": mu, axis: 1 / (1 + np.exp(-mu))}
    pq.write_table(pa.table(columns), file)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scores = Path(folder, "scores.parquet")
        write_rows(scores, arguments.rows)
        for name, (command, *options) in COMMANDS.items():
            started = time.perf_counter()
            subprocess.run(
                [sys.executable, "-m", "librehps_cli", command, scores, *options],
                cwd=folder, stdout=subprocess.DEVNULL, check=True,
            )  # fmt: skip
            print(f"{name}: {time.perf_counter() - started:.1f} s", flush=True)
        report = Path(folder, "report.html").stat().st_size / 1e6
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"the report is {report:.0f} MB; the most memory of any was {peak:.0f} MB")


if __name__ == "__main__":
    main()
