"""Cost of a row outside decode and forward, by term and by number of rows.

    python benchmarks/scale.py --rows 10000 100000 1000000 [--ids both] [--suffix parquet] [--paper]

Forwards and decode are replaced by a constant: no media is opened, each item has a content hash of
its own and pseudo-random scores. Everything else is the code of `score_to`: the manifest is listed,
ids are compared, rows go through the journal and the duplicates' index into the output, which is
then retried and resumed. Run, resume, retry and `score_to` are processes of their own, in which a
small run comes first. Small sizes are measured several times, of which the tables have medians. CPU
time is user plus system time of the process. Other programs change the pace of a machine: fixed
work is timed in each 20 ms of CPU time, and growth is that of the costs at equal pace. --paper adds
the tables for 100 million and a billion images. Memory by term needs Linux.
"""

import argparse
import json
import logging
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from statistics import median

import scale_paper
from constant_model import write_manifest
from scale_tasks import MANIFEST, TASKS, measure

# A term that costs this much more a row at the next size is marked: it is not linear.
MAX_GROWTH = 1.2
# A size is measured until this many rows were scored, but at most MAX_TIMES times.
ROWS_IN_ALL, MAX_TIMES = 3_000_000, 5
Measured = dict[str, dict[str, float]]


def measured(rows: int, ids: str, suffix: str) -> dict[str, Measured]:
    """Return the medians of what all tasks measure at a size."""
    times = max(1, min(MAX_TIMES, ROWS_IN_ALL // rows))
    return joined([measured_once(rows, ids, suffix) for _ in range(times)])


def measured_once(rows: int, ids: str, suffix: str) -> dict[str, Measured]:
    """Return what the tasks measure, each in a process of its own."""
    found: dict[str, Measured] = {"terms": {}, "disk": {}}
    with tempfile.TemporaryDirectory() as folder:
        write_manifest(Path(folder, MANIFEST), rows, ids == "random")
        for task in TASKS:
            command = [sys.executable, __file__, "--task", task, folder]
            command += ["--rows", str(rows), "--suffix", suffix]
            done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
            for name, values in json.loads(done.stdout.splitlines()[-1]).items():
                found[name] |= values
    return found


def joined(found: Sequence[dict[str, Measured]]) -> dict[str, Measured]:
    """Return the median of each number; `equal` of a term is its cost over the pace."""
    terms = {}
    for name, first in found[0]["terms"].items():
        every = [one["terms"][name] for one in found]
        terms[name] = {key: median(one[key] for one in every) for key in first}
        terms[name]["equal"] = median(one["us"] / one["pace_us"] for one in every)
    disk = {name: median(one["disk"][name] for one in found) for name in found[0]["disk"]}
    return {"terms": terms, "disk": disk}


def print_terms(sizes: list[int], runs: list[dict[str, Measured]]) -> None:
    """Print a line for each term: cost at each size, growth, and memory at the largest size."""
    costs = [f"µs a row, {size:,} rows" for size in sizes]
    print(f"| term | {' | '.join(costs)} | growth | peak MB | bytes a further row |")
    print("|---" * (4 + len(sizes)) + "|")
    for term, last in runs[-1]["terms"].items():
        values = [run["terms"][term]["us"] for run in runs]
        equal = [run["terms"][term]["equal"] for run in runs]
        growth = [after / before for before, after in pairwise(equal)]
        shown = [f"x {g:.2f}{' (!)' if g > MAX_GROWTH else ''}" for g in growth]
        cells = [*(f"{value:.2f}" for value in values), ", ".join(shown)]
        if "peak_mb" in last:
            more = scale_paper.bytes_a_row(term, sizes, runs) if len(runs) > 1 else 0
            cells += [f"{last['peak_mb']:.0f}", f"{more:.0f}"]
        else:
            cells += ["", ""]
        print(f"| {term} | {' | '.join(cells)} |")
    paces = [median(term["pace_us"] for term in run["terms"].values()) for run in runs]
    print(f"| pace: fixed work, µs | {' | '.join(f'{pace:.0f}' for pace in paces)} | | | |")
    print("\n| on disk | " + " | ".join(f"bytes a row, {size:,} rows" for size in sizes) + " |")
    print("|---" * (1 + len(sizes)) + "|")
    for name in runs[0]["disk"]:
        cells = [f"{run['disk'][name]:.2f}" for run in runs]
        print(f"| {name} | {' | '.join(cells)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--ids", choices=("sorted", "random", "both"), default="both")
    parser.add_argument("--suffix", choices=("parquet", "jsonl"), default="parquet")
    parser.add_argument("--paper", action="store_true")
    parser.add_argument("--task", nargs=2, metavar=("TASK", "FOLDER"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    # The model tiny is not used for its scores here.
    logging.getLogger("librehps").setLevel(logging.ERROR)
    if given.paper and len(given.rows) < 2:
        parser.error("--paper needs two sizes in --rows, for the memory of a further row")
    if given.task:
        task, folder = given.task
        print(json.dumps(measure(task, Path(folder), given.rows[0], given.suffix)))
        return
    print(f"$ python benchmarks/scale.py {' '.join(sys.argv[1:])}\n")
    print("Forwards and decode are replaced by a constant. CPU time; memory of the whole process.")
    for ids in ("sorted", "random") if given.ids == "both" else (given.ids,):
        runs = []
        for rows in given.rows:
            runs.append(measured(rows, ids, given.suffix))
            print(f"measured: {rows:,} rows, {ids} ids", file=sys.stderr, flush=True)
        print(f"\n## {ids.capitalize()} ids, .{given.suffix}\n")
        print_terms(given.rows, runs)
    if given.paper:
        scale_paper.show(given.rows, runs)


if __name__ == "__main__":
    main()
