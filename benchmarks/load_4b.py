"""Load a checkpoint under a memory limit, score one picture, and say where memory and CPU went.

    python benchmarks/random_4b.py FOLDER
    python benchmarks/load_4b.py FOLDER --weights int8 --limit-gb 8

A child process does the work. This process reads the child's memory every 10 ms and kills it where
anonymous memory passes the limit. Limits of the kernel either count the mapped pages of shards,
which it can drop at any time, or need the rights of an administrator; with these rights:

    systemd-run --scope -p MemoryMax=8G -p MemorySwapMax=0 python benchmarks/load_4b.py FOLDER
"""

import argparse
import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

BYTES_PER_GB = 1e9
SAMPLE_S = 0.01
KINDS = ("RssAnon", "RssFile")


@dataclass
class Watched:
    """Memory of a process in bytes, by kind: now, and the most since the last `reset`."""

    pid: int
    now: Counter[str] = field(default_factory=Counter)
    peak: Counter[str] = field(default_factory=Counter)

    def sample(self) -> None:
        try:
            lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        except OSError:
            return
        self.now = Counter(
            {
                n: int(v.split()[0]) * 1024
                for n, _, v in (x.partition(":") for x in lines)
                if n in KINDS
            }
        )
        self.peak |= self.now

    def reset(self) -> None:
        self.peak = self.now.copy()


def watch(command: list[str], limit: float) -> int:
    """Run the child, print a line for each of its stages; returns 0, or 1 if it failed."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        memory, stage = Watched(child.pid), "start"
        print(f"limit {limit / BYTES_PER_GB:.1f} GB of anonymous memory; sizes in GB")
        print("stage      peak anon peak file   after  wall s   CPU s")
        while True:
            memory.sample()
            if memory.now["RssAnon"] > limit:
                child.kill()
                print(f"killed after stage {stage}: {memory.now['RssAnon'] / BYTES_PER_GB:.2f} GB")
                return 1
            if not select.select([child.stdout], [], [], SAMPLE_S)[0]:
                continue
            if not (line := child.stdout.readline()):
                return int(child.wait() != 0)
            record = json.loads(line)
            stage = record["stage"]
            print(row(record, memory), flush=True)
            memory.reset()


def row(record: dict[str, Any], memory: Watched) -> str:
    sizes = (memory.peak["RssAnon"], memory.peak["RssFile"], memory.now["RssAnon"])
    peak, file, after = (size / BYTES_PER_GB for size in sizes)
    line = f"{record['stage']:10} {peak:9.2f} {file:9.2f} {after:7.2f}"
    line += f" {record['wall']:7.1f} {record['cpu']:7.1f}"
    parts = [f"{name} {seconds:.1f}" for name, seconds in record["parts"].items()]
    return "; ".join((line, *parts, *([record["note"]] if record["note"] else [])))


class Parts:
    """CPU seconds of the network's parts, each without the parts within it."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self.running: list[str] = []
        self.since = time.process_time()

    def watch(self, network: Any) -> None:
        """Count whatever the network runs from now on."""
        for name, module in network.named_modules():
            if part := part_of(name, module):
                module.register_forward_pre_hook(partial(self._enter, part))
                module.register_forward_hook(self._leave)

    def _enter(self, part: str, *_: object) -> None:
        self._charge()
        self.running.append(part)

    def _leave(self, *_: object) -> None:
        self._charge()
        self.running.pop()

    def _charge(self) -> None:
        now = time.process_time()
        self.seconds[self.running[-1] if self.running else "other"] += now - self.since
        self.since = now

    def take(self) -> dict[str, float]:
        """Return the seconds since the last call, by part, most first."""
        self._charge()
        taken = dict(self.seconds.most_common())
        self.seconds.clear()
        return taken


def part_of(name: str, module: Any) -> str | None:
    """Return what a module of the network counts as, None if as the module around it."""
    from torch import nn

    tower = "vision" if name.startswith("model.visual") else "text"
    if isinstance(module, nn.Linear) and name.startswith("model."):
        return f"{tower} linears"
    last = name.rpartition(".")[2]
    known = {"linear_attn": "delta rule", "self_attn": "attention", "visual": "vision other"}
    return known.get(last) or ("heads" if name.endswith("_head") else None)


def stage(name: str, call: Callable[[], Any], parts: Parts | None = None) -> Any:
    """Return what the call returns; prints the stage's wall and CPU seconds for the parent."""
    if parts is not None:
        parts.take()
    wall, cpu = time.perf_counter(), time.process_time()
    result = call()
    record = {
        "stage": name,
        "wall": time.perf_counter() - wall,
        "cpu": time.process_time() - cpu,
        "parts": {} if parts is None else parts.take(),
        "note": "" if parts is None else f"overall {result}",
    }
    print(json.dumps(record), flush=True)
    return result


def work(arguments: argparse.Namespace) -> None:
    """Load and score, in the child process."""
    stage("imports", imports)
    import torch

    from librehps import LibreHPS
    from librehps.bench.workload import Workload, make_items

    torch.set_num_threads(arguments.threads)
    options = {"dtype": arguments.dtype, "weights": arguments.weights, "device": "cpu"}
    scorer = stage("load", lambda: LibreHPS.from_pretrained(arguments.folder, **options))
    if not arguments.scores:
        return
    parts = Parts()
    parts.watch(scorer._model.network)
    with tempfile.TemporaryDirectory() as name:
        items = make_items(Path(name), Workload(images=arguments.scores), scorer._processor)
        for item in items:
            score = partial(scorer.score_image, item.media, item.prompt)
            stage("score", lambda: score().overall, parts)  # noqa: B023


def imports() -> None:
    from librehps import LibreHPS  # noqa: F401
    from librehps.models.families import FAMILIES  # noqa: F401


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--weights", choices=("full", "int8", "nf4"), default="full")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default=None)
    parser.add_argument("--limit-gb", type=float, default=12.0)
    parser.add_argument("--scores", type=int, default=1, help="pictures to score, in turn")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        work(arguments)
    else:
        command = [sys.executable, __file__, *sys.argv[1:], "--child"]
        raise SystemExit(watch(command, arguments.limit_gb * BYTES_PER_GB))


if __name__ == "__main__":
    main()
