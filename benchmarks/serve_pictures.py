"""Small requests beside huge pictures: latencies of the small ones, and the server's memory.

    python benchmarks/serve_pictures.py [--seconds 60] [--rounds 4] [--small 2] [--large 4]

Rounds of small requests alone and beside `--large` clients, who send 63 megapixels in WebP, PNG and
JPEG, take turns, since other tenants of a machine change its pace. A round beside them lasts until
a large request was answered. In one server the limits admit such pictures, in the other the
defaults refuse them. Exits 1 if p99 beside them is 3 times p99 alone or more, if a round had no
large answer, if memory grows by more than the flags say, or if an answer is wrong.
"""

import argparse
import asyncio
import contextlib
import json
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count, pairwise
from pathlib import Path

import psutil
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

from serve_client import Link, Server, encoded, png_b64

SIDES = (7990, 7900)
FORMATS = ("WEBP", "PNG", "JPEG")
SMALL_SIDE, SMALL_BODIES = 192, 32
MEMORY_MB, BODY_MB = 4096, 8
ADMITTING = ("--max-megapixels", 64, "--decode-memory-mb", MEMORY_MB, "--max-body-mb", BODY_MB)
REFUSING = ("--decode-memory-mb", MEMORY_MB, "--max-body-mb", BODY_MB)
# Decoder processes that idle, and what allocators keep.
OVERHEAD_MB = 250
MAX_RATIO = 3.0
POLL_S = 0.05
# A round without a large answer ends after this time, and the benchmark fails.
MAX_ROUND_S = 120


@dataclass(frozen=True)
class Bodies:
    small: list[bytes]
    large: list[bytes]


@dataclass
class Load:
    """Latencies of small requests in s, answers to large ones, and peak memory in bytes."""

    latencies: list[float] = field(default_factory=list)
    large: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    peak: int = 0

    def quantile(self, share: float) -> float:
        return sorted(self.latencies)[int(len(self.latencies) * share)]


def bodies_of_small() -> list[bytes]:
    sides = (SMALL_SIDE, SMALL_SIDE)
    return [body_of(png_b64(seed, *sides)) for seed in range(SMALL_BODIES)]


def bodies_of_large() -> list[bytes]:
    image = Image.new("RGB", SIDES, (180, 40, 90))
    return [body_of(encoded(image, form)) for form in FORMATS]


def body_of(image: str) -> bytes:
    return json.dumps({"items": [{"prompt": "a red circle", "image_b64": image}]}).encode()


async def small(
    port: int, bodies: Sequence[bytes], is_over: Callable[[float], bool], load: Load
) -> None:
    link = Link(port)
    for at in count():
        start = time.perf_counter()
        if is_over(start):
            break
        status, answer = await link.post("/score", bodies[at % len(bodies)])
        load.latencies.append(time.perf_counter() - start)
        if status != 200 or b'"status":"ok"' not in answer.replace(b" ", b""):
            load.wrong.append(f"small: {status} {answer[:200]!r}")
    await link.close()


async def large(port: int, bodies: Sequence[bytes], first: int, load: Load) -> None:
    link = Link(port)
    try:
        for at in count(first):
            status, answer = await link.post("/score", bodies[at % len(bodies)])
            [item] = json.loads(answer)["items"] if status == 200 else [{}]
            load.large[f"{status} {item.get('error_type') or 'ok'}"] += 1
    finally:
        # A client that leaves: the server stops its decoding.
        await link.close()


async def watch(server: Server, load: Load) -> None:
    process = psutil.Process(server.pid())
    while True:
        load.peak = max(load.peak, sum(map(rss_of, family(process))))
        await asyncio.sleep(POLL_S)


def family(process: psutil.Process) -> Iterator[psutil.Process]:
    yield process
    yield from process.children(recursive=True)


def rss_of(process: psutil.Process) -> int:
    with contextlib.suppress(psutil.NoSuchProcess):
        return int(process.memory_info().rss)
    return 0


async def turn(server: Server, clients: tuple[int, int], seconds: float, bodies: Bodies) -> Load:
    """Load the server with so many small and large clients for so long."""
    load, (few, huge) = Load(), clients
    until = time.perf_counter() + seconds

    def is_over(now: float) -> bool:
        waits = huge and not load.large and now < until + MAX_ROUND_S
        return now >= until and not waits

    background = [asyncio.create_task(watch(server, load))]
    background += [
        asyncio.create_task(large(server.port, bodies.large, at, load)) for at in range(huge)
    ]
    await asyncio.gather(*(small(server.port, bodies.small, is_over, load) for _ in range(few)))
    for task in background:
        task.cancel()
    for done in await asyncio.gather(*background, return_exceptions=True):
        if isinstance(done, Exception):
            load.wrong.append(f"large: {done!r}")
    return load


def run(flags: Sequence[object], args: argparse.Namespace, bodies: Bodies) -> bool:
    """Print what one server did; return whether it kept the bounds."""
    server = Server.start(*flags)
    try:
        return report(server, args, bodies)
    finally:
        server.stop()


def report(server: Server, args: argparse.Namespace, bodies: Bodies) -> bool:
    def load(large: int, seconds: float) -> Load:
        return asyncio.run(turn(server, (args.small, large), seconds, bodies))

    for body, form in zip(bodies.large, FORMATS, strict=True):
        start = time.perf_counter()
        [item] = server.post("/score", body).json["items"]
        print(f"  {form}: {item['error'] or 'ok'}, {time.perf_counter() - start:.1f} s alone")
    share = args.seconds / (2 * args.rounds + 1)
    # The first requests start threads and fill caches.
    load(0, min(3, share))
    alone, beside = [load(0, share)], []
    for _ in range(args.rounds):
        beside.append(load(args.large, share))
        alone.append(load(0, share))
    p50, p99 = (ratios(alone, beside, q) for q in (0.5, 0.99))
    grown = (max(one.peak for one in beside) - alone[0].peak) / 1e6
    most = MEMORY_MB * 1.048576 + 2 * args.large * BODY_MB + OVERHEAD_MB
    wrong = [text for one in (*alone, *beside) for text in one.wrong]
    for name, loads in (("alone", alone), ("beside", beside)):
        p = [", ".join(f"{one.quantile(q) * 1000:.0f}" for one in loads) for q in (0.5, 0.99)]
        requests = sum(len(one.latencies) for one in loads)
        print(f"  {name}: {requests} small requests, p50 {p[0]} ms, p99 {p[1]} ms")
    print(f"  ratio of p50 {p50:.2f}, of p99 {p99:.2f} (below {MAX_RATIO:g})")
    unanswered = sum(not one.large for one in beside)
    answers = dict(sum((one.large for one in beside), Counter()))
    print(f"  large answers: {answers}; rounds without one: {unanswered}")
    print(f"  memory grew by {grown:.0f} MB (at most {most:.0f}); wrong {len(wrong)} {wrong[:3]}")
    return p99 < MAX_RATIO and grown <= most and not wrong and not unanswered


def ratios(alone: Sequence[Load], beside: Sequence[Load], share: float) -> float:
    """Return the median ratio of a quantile to that of the rounds just before and after."""
    quantiles = [one.quantile(share) for one in alone]
    around = [(a + b) / 2 for a, b in pairwise(quantiles)]
    return statistics.median(
        one.quantile(share) / other for one, other in zip(beside, around, strict=True)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="for each server")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--small", type=int, default=2, help="clients")
    parser.add_argument("--large", type=int, default=4, help="clients")
    args = parser.parse_args()
    bodies = Bodies(bodies_of_small(), bodies_of_large())
    print(f"large bodies: {', '.join(f'{len(body) / 1000:.0f} kB' for body in bodies.large)}")
    kept = []
    for name, flags in (("admitted", ADMITTING), ("refused by default", REFUSING)):
        print(f"{name} ({' '.join(map(str, flags))}):")
        kept.append(run(flags, args, bodies))
    sys.exit(not all(kept))


if __name__ == "__main__":
    main()
