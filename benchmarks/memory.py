"""Memory of a long run: 100,000 rows over 10,000 pictures, every (content, prompt) distinct.

    python benchmarks/memory.py [--rows 100000] [--images 10000]

Prints the resident size of the process after each twentieth of the rows. Flat means that the last
figure is within 10 % of the first.
"""

import argparse
import csv
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from journal_rows import rows_on_disk

SIDE = 64
TWENTIETHS = 20


def write_images(folder: Path, count: int) -> None:
    rng = np.random.default_rng(0)
    for index in range(count):
        coarse = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        picture = Image.fromarray(coarse).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        picture.save(folder / f"{index:06}.jpg")


def write_manifest(file: Path, rows: int, images: int) -> None:
    with file.open("w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(["id", "image", "prompt", "seed"])
        for row in range(rows):
            name = f"{row % images:06}.jpg"
            writer.writerow([row, name, f"a red circle, take {row // images}", row])


def resident(pid: int) -> float:
    """Megabytes of a process, without its children."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


def watch(child: "subprocess.Popen[bytes]", journal: Path, rows: int) -> list[float]:
    """Resident size after each twentieth of the rows."""
    sizes: list[float] = []
    started = time.monotonic()
    while child.poll() is None:
        seen = rows_on_disk(journal)
        while len(sizes) < seen * TWENTIETHS // rows:
            sizes.append(resident(child.pid))
            rate = seen / (time.monotonic() - started)
            print(f"{seen:>8} rows {sizes[-1]:8.1f} MB {rate:6.0f} rows/s", flush=True)
        time.sleep(0.2)
    return sizes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--images", type=int, default=10_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_images(folder, arguments.images)
        write_manifest(folder / "rows.csv", arguments.rows, arguments.images)
        output = folder / "scores.parquet"
        command = ["score", folder / "rows.csv", "--model", "tiny", "-o", output, "--quiet"]
        child = subprocess.Popen([sys.executable, "-m", "librehps_cli", *map(str, command)])
        sizes = watch(child, folder / "scores.parquet.journal", arguments.rows)
        print(f"exit {child.returncode}; last to first {sizes[-1] / sizes[0]:.3f}")


if __name__ == "__main__":
    main()
