"""Both engines on the same items: are the rows equal, and what does Ray cost?

    python benchmarks/ray_overhead.py [--items 2000] [--actors 2] [--rounds 2] [--kill]
    python benchmarks/ray_overhead.py --driver 200000

Renders 1024 x 1024 JPEGs (two hundred files, listed again and again with prompts of their own),
scores them with LibreHPS-Tiny by the local engine, then by Ray, each in a process of its own.
Rows/s count from the first row, so that starting up stands apart. With --kill an actor gets
SIGKILL in a run more, which must give the same rows. Other tenants of a machine change its pace,
and hardly the CPU time that a row takes. --driver ROWS measures the CPU time of the driver alone,
a row of listing and a row of scoring, with files that do not exist: no forward, no decoding.
"""

import argparse
import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
import pyarrow as pa
import pyarrow.parquet as pq

import journal_rows
from librehps import score_to
from librehps.runs.observer import RunObserver
from librehps.runs.options import RayOptions
from librehps.types import AXES
from speed import write_images

FILES = 200
BOUNDS = dict.fromkeys(AXES, 1e-4) | {f"{axis}_mu": 2e-3 for axis in AXES}


@dataclass(frozen=True)
class Run:
    """The seconds, core seconds and rows of a run, before and after its first row on disk."""

    starting: float
    scoring: float
    cores: tuple[float, float]
    rows: int

    def __str__(self) -> str:
        pace, each = self.rows / self.scoring, self.cores[1] / self.rows * 1000
        return (
            f"{self.starting:.1f} s ({self.cores[0]:.1f} s of CPU) to the first rows, "
            f"then {pace:.1f} rows/s, {each:.1f} ms of CPU a row"
        )


class Cores:
    """CPU seconds of a process and all below it, those that ended too."""

    def __init__(self, pid: int) -> None:
        self._process, self._seen = psutil.Process(pid), {}

    def seconds(self) -> float:
        with contextlib.suppress(psutil.Error):
            for process in [self._process, *self._process.children(recursive=True)]:
                with contextlib.suppress(psutil.Error):
                    times = process.cpu_times()
                    self._seen[process.pid] = times.user + times.system
        return sum(self._seen.values())


def write_manifest(folder: Path, items: int) -> Path:
    files = write_images(folder, min(FILES, items))
    rows = [
        {"id": f"{at:05}", "image": files[at % len(files)].name, "prompt": f"a view, number {at}"}
        for at in range(items)
    ]
    manifest = folder / "m.jsonl"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return manifest


def rows_on_disk(output: Path) -> int:
    if output.suffix == ".parquet":
        return journal_rows.rows_on_disk(output.with_name(output.name + ".journal"))
    return sum(pq.read_metadata(part).num_rows for part in output.glob("part-*.parquet"))


def kill(driver: psutil.Process, what: str) -> None:
    while driver.is_running():
        for process in driver.children(recursive=True):
            try:
                title = " ".join(process.cmdline())
            except psutil.Error:
                continue
            if title.startswith("ray::") and what in title:
                process.kill()
                print(f"killed {title.strip()}", flush=True)
                return
        time.sleep(0.005)
    raise SystemExit(f"no process of {what} was there to be killed")


def timed(manifest: Path, output: Path, *more: str, killed: tuple[str, ...] = ()) -> Run:
    command = [sys.executable, "-m", "librehps_cli", "score", str(manifest), "--model", "tiny"]
    if output.is_dir():
        shutil.rmtree(output)
    output.unlink(missing_ok=True)
    start = time.perf_counter()
    child = subprocess.Popen([*command, "-q", "-o", str(output), *more], stderr=subprocess.PIPE)
    first, before, cores, used = 0.0, 0, Cores(child.pid), [0.0, 0.0]
    while child.poll() is None:
        used[1] = cores.seconds()
        if not first and (before := rows_on_disk(output)):
            first, used[0] = time.perf_counter(), used[1]
            for what in killed:
                kill(psutil.Process(child.pid), what)
        time.sleep(0.1)
    said = child.communicate()[1].decode()
    if child.returncode:
        raise SystemExit(f"exit code {child.returncode}: {said}")
    total = pq.read_table(output, columns=["id"]).num_rows
    spent = (used[0], used[1] - used[0])
    return Run(first - start, time.perf_counter() - first, spent, total - before)


def table_of(output: Path) -> pa.Table:
    parts = [output] if output.is_file() else sorted(output.glob("part-*.parquet"))
    return pa.concat_tables(map(pq.read_table, parts))


def differences(output: Path, expected: Path) -> str:
    """The largest difference on means and on mu; ends the script where a row differs beyond."""
    one, other = table_of(output), table_of(expected)
    largest = {"mean": 0.0, "mu": 0.0}
    for name in other.column_names:
        values, wanted = one[name].to_pylist(), other[name].to_pylist()
        if name not in BOUNDS:
            if values != wanted:
                raise SystemExit(f"{output} differs in {name}")
            continue
        kind = "mu" if name.endswith("_mu") else "mean"
        gaps = [abs(a - b) for a, b in zip(values, wanted, strict=True) if None not in (a, b)]
        if values.count(None) != wanted.count(None) or max(gaps, default=0) > BOUNDS[name]:
            raise SystemExit(f"{output} differs in {name}")
        largest[kind] = max(largest[kind], *gaps, 0.0)
    return (
        f"rows equal; largest difference {largest['mean']:.1e} in mean, {largest['mu']:.1e} in mu"
    )


class DriverClock(RunObserver):
    """CPU seconds of this process at each note of a run."""

    def __init__(self) -> None:
        self.notes: list[tuple[str, float]] = []

    def note(self, message: str) -> None:
        self.notes.append((message, time.process_time()))

    def at(self, beginning: str) -> float:
        return next(seconds for note, seconds in self.notes if note.startswith(beginning))


def measure_driver(folder: Path, rows: int, actors: int) -> None:
    manifest = folder / "missing.jsonl"
    with manifest.open("w") as file:
        for at in range(rows):
            name = f"{at % 1000}/{at}.png"
            file.write(json.dumps({"id": f"{at}", "image": name, "prompt": "x"}) + "\n")
    clock = DriverClock()
    score_to(
        manifest,
        folder / "missing",
        model="tiny",
        engine=RayOptions(actors=actors),
        observer=clock,
    )
    end, scoring, listing = time.process_time(), clock.at("scoring"), clock.at("listing")
    print(f"driver: {(scoring - listing) / rows * 1e6:.1f} us of CPU a row to list")
    print(f"driver: {(end - scoring) / rows * 1e6:.1f} us of CPU a row while the actors score")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=2000)
    parser.add_argument("--actors", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=2, help="of both engines")
    parser.add_argument("--kill", action="store_true")
    parser.add_argument("--driver", type=int, metavar="ROWS", help="measure the driver alone")
    arguments = parser.parse_args()
    ray = ("--engine", "ray", "--concurrency", str(arguments.actors))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if arguments.driver:
            measure_driver(folder, arguments.driver, arguments.actors)
            return
        manifest = write_manifest(folder, arguments.items)
        local, spread, hurt = folder / "local.parquet", folder / "ray", folder / "killed"
        for _ in range(arguments.rounds):
            print(f"local: {timed(manifest, local)}", flush=True)
            done = timed(manifest, spread, *ray)
            print(f"ray, {arguments.actors} actors: {done}", flush=True)
            print(differences(spread, local), flush=True)
        if arguments.kill:
            done = timed(manifest, hurt, *ray, killed=("ScoreActor",))
            print(f"killed: {done}", flush=True)
            print(differences(hurt, local), flush=True)


if __name__ == "__main__":
    main()
