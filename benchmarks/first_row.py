"""CPU and wall time from `librehps score PICTURE --model tiny` to its row, in fresh processes.

    python benchmarks/first_row.py [SOURCE ...] [--rounds 5] [--command info]

Each SOURCE is the root of a checkout, this one if none is given; sources take turns, so that load
and heat of the machine meet all alike. `import torch` alone takes its turn too, as the floor.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).parents[1]
FLOOR = "import torch"
COMMANDS = {
    "score": ["score", "PICTURE", "--model", "tiny", "--prompt", "a red square"],
    "info": ["info", "--model", "tiny"],
}


def seconds(arguments: list[str], source: Path) -> tuple[float, float]:
    """Return CPU and wall seconds of a Python process that imports librehps from a checkout."""
    path = os.pathsep.join(str(source / name) for name in ("core", ""))
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(
        [sys.executable, *arguments], env=environment, check=True, capture_output=True, cwd=source
    )
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime, wall


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sources", nargs="*", type=Path, default=[ROOT])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--command", choices=COMMANDS, default="score")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder, "picture.png")
        Image.linear_gradient("L").convert("RGB").save(picture)
        words = [str(picture) if w == "PICTURE" else w for w in COMMANDS[chosen.command]]
        calls = {str(s): (["-m", "librehps_cli", *words], s.resolve()) for s in chosen.sources}
        calls[FLOOR] = (["-c", FLOOR], ROOT)
        # The first call of each fills the caches of files and of compiled modules.
        for call in calls.values():
            seconds(*call)
        taken: dict[str, list[tuple[float, float]]] = {name: [] for name in calls}
        for _ in range(chosen.rounds):
            for name, call in calls.items():
                taken[name].append(seconds(*call))
    for name, figures in taken.items():
        cpu, wall = (statistics.median(column) for column in zip(*figures, strict=True))
        lowest = min(one for one, _ in figures)
        print(f"CPU {cpu:.2f} s (lowest {lowest:.2f}), wall {wall:.2f} s: {name}")


if __name__ == "__main__":
    main()
