"""Cost of a row outside decode and forward, by term and by number of rows.

    python benchmarks/scale.py --rows 10000 100000 1000000 [--ids both] [--suffix parquet] [--paper]

Forwards and decode are replaced by a constant: no media is opened, each item has a content hash of
its own and pseudo-random scores. Everything else is the code of `score_to`: the manifest is listed,
ids are compared, rows go through the journal and the duplicates' index into the output, which is
then retried and resumed. Each size has processes of its own. CPU time is user plus system time of
the process. Other programs change the pace of a machine: fixed work is timed all the while, and
growth is that of the costs at equal pace. --paper adds the tables for 100 million and a billion
images. Memory by term needs Linux.
"""

import argparse
import json
import logging
import subprocess
import sys
import tempfile
from itertools import pairwise
from pathlib import Path
from statistics import median

import scale_paper
from scale_terms import measure, measure_whole

# A term that costs this much more a row at the next size is marked: it is not linear.
MAX_GROWTH = 1.2
Measured = dict[str, dict[str, float]]


def run_alone(task: str, rows: int, ids: str, suffix: str) -> dict[str, Measured]:
    """Return what a process of its own measures."""
    command = [sys.executable, __file__, "--task", task, "--rows", str(rows)]
    command += ["--ids", ids, "--suffix", suffix]
    found = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    return json.loads(found.stdout.splitlines()[-1])


def task_of(name: str, rows: int, ids: str, suffix: str) -> dict[str, Measured]:
    with tempfile.TemporaryDirectory() as folder:
        call = measure if name == "terms" else measure_whole
        return call(Path(folder), rows, ids == "random", suffix)


def print_terms(sizes: list[int], runs: list[dict[str, Measured]]) -> None:
    """Print a line for each term: cost at each size, growth, and memory at the largest size."""
    costs = [f"µs a row, {size:,} rows" for size in sizes]
    print(f"| term | {' | '.join(costs)} | growth | peak MB | bytes a further row |")
    print("|---" * (4 + len(sizes)) + "|")
    for term, last in runs[-1]["terms"].items():
        values = [run["terms"][term]["us"] for run in runs]
        paces = [run["terms"][term]["pace_us"] for run in runs]
        equal = [value / pace for value, pace in zip(values, paces, strict=True)]
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
    parser.add_argument("--task", choices=("terms", "whole"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    # The model tiny is not used for its scores here.
    logging.getLogger("librehps").setLevel(logging.ERROR)
    if given.paper and len(given.rows) < 2:
        parser.error("--paper needs two sizes in --rows, for the memory of a further row")
    if given.task:
        print(json.dumps(task_of(given.task, given.rows[0], given.ids, given.suffix)))
        return
    print(f"$ python benchmarks/scale.py {' '.join(sys.argv[1:])}\n")
    print("Forwards and decode are replaced by a constant. CPU time; memory of the whole process.")
    for ids in ("sorted", "random") if given.ids == "both" else (given.ids,):
        runs = []
        for rows in given.rows:
            found = run_alone("terms", rows, ids, given.suffix)
            whole = run_alone("whole", rows, ids, given.suffix)
            runs.append({**found, "terms": {**found["terms"], **whole["terms"]}})
            print(f"measured: {rows:,} rows, {ids} ids", file=sys.stderr, flush=True)
        print(f"\n## {ids.capitalize()} ids, .{given.suffix}\n")
        print_terms(given.rows, runs)
    if given.paper:
        scale_paper.show(given.rows, runs)


if __name__ == "__main__":
    main()
