"""Load a checkpoint under a memory limit, score one picture, and say where memory and CPU went.

    python benchmarks/random_4b.py FOLDER
    python benchmarks/load_4b.py FOLDER --weights int8 --limit-gb 8

A child process does the work. This process reads the child's memory every 5 ms and kills it where
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
from pathlib import Path
from typing import Any

BYTES_PER_GB = 1e9
SAMPLE_S = 0.005
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


def stage(name: str, call: Callable[[], Any], parts: Counter[str], note: str = "") -> Any:
    """Return what the call returns; prints the stage's wall and CPU seconds for the parent."""
    parts.clear()
    wall, cpu = time.perf_counter(), time.process_time()
    result = call()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    if parts:
        parts["other"] = cpu - sum(parts.values())
    note = note or (str(result) if name.startswith("score") else "")
    record = {"stage": name, "wall": wall, "cpu": cpu, "parts": dict(parts), "note": note}
    print(json.dumps(record), flush=True)
    return result


def count_by_part(network: Any, parts: Counter[str]) -> None:
    """Add the CPU seconds of the network's parts to `parts` whenever these run."""
    from torch import nn

    for name, module in network.named_modules():
        part = None
        if name.startswith("model.visual.") and is_outer(name):
            part = "vision"
        elif name.startswith("model.language_model.") and isinstance(module, nn.Linear):
            part = "text linears"
        elif name in ("multi_axis_head", "scalar_head"):
            part = "heads"
        if part is not None:
            hook(module, part, parts)


def is_outer(name: str) -> bool:
    """Return whether a module is a part of the vision tower that holds no other such part."""
    inner = name.removeprefix("model.visual.").split(".")
    return len(inner) == 2 if inner[0] == "blocks" else len(inner) == 1


def hook(module: Any, part: str, parts: Counter[str]) -> None:
    def begin(*_: object) -> None:
        parts[part] -= time.process_time()

    def end(*_: object) -> None:
        parts[part] += time.process_time()

    module.register_forward_pre_hook(begin)
    module.register_forward_hook(end)


def work(arguments: argparse.Namespace) -> None:
    """Load and score: what the child does."""
    parts: Counter[str] = Counter()
    stage("imports", imports, parts)
    import torch

    from librehps import LibreHPS
    from librehps.bench.workload import Workload, make_items

    torch.set_num_threads(arguments.threads)
    options = {} if arguments.weights == "full" else {"weights": arguments.weights}
    folder, dtype = arguments.folder, arguments.dtype
    scorer = stage(
        "load",
        lambda: LibreHPS.from_pretrained(folder, dtype=dtype, device="cpu", **options),
        parts,
    )
    if not arguments.scores:
        return
    count_by_part(scorer._model.network, parts)
    with tempfile.TemporaryDirectory() as name:
        items = make_items(Path(name), Workload(images=arguments.scores), scorer._processor)
        for item in items:
            stage("score", lambda: scorer.score_image(item.media, item.prompt).overall, parts)  # noqa: B023


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
