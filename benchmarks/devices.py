"""Several devices beside one: the rows, the pace, and processes that are killed.

    python benchmarks/devices.py [--device cpu,cpu] [--model tiny] [--pictures 2000] [--rounds 3]

Rounds of one device and of several take turns, since other tenants of a machine change its pace. In
a last run a process is killed at `--kills` moments, spread over the rows. CPU time is that of all
processes; prints one line of JSON.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from librehps import LibreHPS, ScoredRow
from librehps.models.device_list import devices_of

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

from make_media import picture

PROMPT = "a lighthouse on a cliff at dusk, waves below, oil on canvas"
MEAN_BOUND, MU_BOUND = 1e-4, 2e-3
MODULE = "librehps.engine.devices.process"


@dataclass
class Run:
    """The rows of a run, its wall time and the CPU time of all processes, in seconds."""

    rows: list[ScoredRow]
    wall: float
    cpu: float


def processes() -> list[psutil.Process]:
    """The running processes of devices, in the order of their start."""
    found = []
    for one in psutil.Process().children():
        # One that has died since has no command line.
        with suppress(psutil.Error):
            if MODULE in one.cmdline():
                found.append(one)
    return found


def cpu_seconds() -> float:
    times = [one.cpu_times() for one in (psutil.Process(), *processes())]
    return sum(one.user + one.system for one in times)


def timed(model: LibreHPS, paths: list[Path], batch_size: int | None) -> Run:
    started, cpu = time.perf_counter(), cpu_seconds()
    rows = [*model.score_items(paths, batch_size, prompt=PROMPT)]
    return Run(rows, time.perf_counter() - started, cpu_seconds() - cpu)


def killing(rows: Iterator[ScoredRow], total: int, kills: int) -> Iterator[ScoredRow]:
    """Yield the rows; kill a process, in turn the older and the younger, at moments among them."""
    moments = {(at + 1) * total // (kills + 1): at for at in range(kills)}
    for count, row in enumerate(rows, 1):
        yield row
        if count in moments and (running := processes()):
            running[moments[count] % len(running)].kill()


def differences(rows: list[ScoredRow], expected: list[ScoredRow]) -> dict[str, float]:
    """The largest difference of a mean and of a mu; ends the program where rows do not match."""
    ids = [row.item.id for row in rows]
    if ids != [row.item.id for row in expected]:
        sys.exit(f"other rows, or in another order: {len(ids)} of {len(expected)}")
    worst = {"mean": 0.0, "mu": 0.0}
    for row, other in zip(rows, expected, strict=True):
        if row.score is None or other.score is None:
            sys.exit(f"{row.item.id}: {row.error or other.error}")
        for axis, value in row.score.axes.items():
            want = other.score.axes[axis]
            worst["mean"] = max(worst["mean"], abs(value.mean - want.mean))
            worst["mu"] = max(worst["mu"], abs(value.raw_mean - want.raw_mean))
    return worst


def write_pictures(folder: Path, count: int, size: int) -> list[Path]:
    paths = [folder / f"{at:06}.jpg" for at in range(count)]
    for at, path in enumerate(paths):
        # Sides differ, so that batches differ too.
        picture(size, size + 32 * (at % 4), at).save(path, quality=90)
    return paths


def figures(runs: list[Run]) -> dict[str, float]:
    count = len(runs[0].rows)
    return {
        "images_per_s": round(statistics.median(count / run.wall for run in runs), 2),
        "cpu_ms_per_image": round(1000 * statistics.median(run.cpu / count for run in runs), 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu,cpu")
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--dtype")
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--pictures", type=int, default=2000)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--kills", type=int, default=10)
    options = parser.parse_args()
    one = LibreHPS.from_pretrained(
        options.model, dtype=options.dtype, device=devices_of(options.device)[0]
    )
    several = LibreHPS.from_pretrained(
        options.model, dtype=options.dtype, device=options.device
    )  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="librehps-devices-") as name:
        paths = write_pictures(Path(name), options.pictures, options.size)
        # The first batches of a process pay for its start.
        for model in (one, several):
            timed(model, paths[:64], options.batch_size)
        singles, pairs = [], []
        for _ in range(options.rounds):
            singles.append(timed(one, paths, options.batch_size))
            pairs.append(timed(several, paths, options.batch_size))
        before = [process.pid for process in processes()]
        rows = several.score_items(paths, options.batch_size, prompt=PROMPT)
        killed = [*killing(rows, len(paths), options.kills)]
    worst = [differences(run.rows, singles[0].rows) for run in (*pairs, *singles[1:])]
    after_kills = differences(killed, singles[0].rows)
    result = {
        "devices": [str(device) for device in several.devices],
        "pictures": len(paths),
        "one": figures(singles),
        "several": figures(pairs),
        "differ": {name: max(each[name] for each in worst) for name in ("mean", "mu")},
        "differ_after_kills": after_kills,
        "kills": options.kills,
        "processes_replaced": len({*before} - {process.pid for process in processes()}),
    }
    print(json.dumps(result))
    bounds = {"mean": MEAN_BOUND, "mu": MU_BOUND}
    sys.exit(any(found[name] > bounds[name] for found in (*worst, after_kills) for name in bounds))


if __name__ == "__main__":
    main()
