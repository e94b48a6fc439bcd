"""A server under load beside offline scoring of the same checkpoint, every answer checked.

    python benchmarks/serve_load.py [--model tiny|47m] [--body json binary] [--clients 64]
                        [--items 1] [--seconds 60] [--only-good] [--device cpu|cpu,cpu]

Rounds of offline and of served scoring take turns, since other tenants of a machine change its
pace; offline scores the same media: files for JSON, pixels in memory for binary bodies. Each client
has pictures of its own, `--items` a request, and sends broken pictures, oversized bodies and torn
JSON among them, unless `--only-good`. `47m` has random weights, those of speed.py.
`--device` is that of the server; offline uses `cpu`, and is measured on the same devices too.

Expected, on two cores: with binary bodies `tiny` (192 x 192 pixels) reaches 80 % of offline and
`47m` (1024 x 1024) 95 %. Seen with `--only-good`, while nothing else ran: `tiny` 82 and 86 % on
`cpu`, 87 to 99 % on `cpu,cpu` (73 to 80 % of offline there), and 77 % with damaged requests among
them; `47m` 99 % with `--clients 8 --body binary --seconds 50 --rounds 2`, which takes 3 minutes.
With the model in the server's own process `tiny` reached 69 to 74 %, and left 20 % of the cores
idle, since its forwards waited for the interpreter lock.
"""

import argparse
import asyncio
import base64
import json
import random
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import safetensors.numpy
from PIL import Image

from librehps import Item, LibreHPS
from librehps.rewards import RewardClient

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

from make_media import picture
from serve_client import Link, Server
from speed import write_checkpoint

MAX_BODY_MB = 4
# Each client sends so many in each round, however slow the machine and the model are.
MIN_REQUESTS = {"tiny": 8, "47m": 2}
PROMPTS = ["a lighthouse on a cliff at dusk, waves below, oil on canvas", "a red circle",
           "two people at a long table in a bright kitchen", "a street in the rain"]  # fmt: skip
# At least so many cases, and so many items of the client whose CPU time is measured.
MIN_CASES = {"tiny": 64, "47m": 16}
BINARY_TYPE, JSON_TYPE = "application/x-safetensors", "application/json"
MEAN_BOUND, MU_BOUND = 1e-4, 2e-3
BODIES = {
    "broken": b'{"items": [{"prompt": "x", "image_b64": "iVBORw0KGgoAAAA="}]}',
    "oversized": b'{"items": "' + b"x" * (MAX_BODY_MB << 20) + b'"}',
}
# Odds of good, broken, oversized and torn requests.
MIXED = (80, 8, 6, 6)
AXES = ("overall", "alignment", "coherence", "style")


@dataclass
class Case:
    """An item, its pixels, and the expected scores."""

    item: Item
    pixels: np.ndarray
    want: dict[str, float] = field(default_factory=dict)


@dataclass
class Request:
    cases: list[Case]
    body: bytes
    type: str


@dataclass
class Tally:
    """The results: scored items, requests by kind, latencies of scored requests in seconds."""

    items: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    worst: list[float] = field(default_factory=lambda: [0.0, 0.0])


def make_cases(count: int, size: int, format: str, body: str) -> list[Case]:
    """Return `count` different cases; pixels in memory for binary bodies, else files."""
    cases = []
    for at in range(count):
        image, file = picture(size, size, at).convert("RGB"), BytesIO()
        image.save(file, format)
        pixels = np.asarray(image)
        media = pixels if body == "binary" else file.getvalue()
        cases.append(Case(Item(str(at), media, PROMPTS[at % len(PROMPTS)], "image"), pixels))
    return cases


def make_requests(cases: list[Case], items: int) -> list[Request]:
    """Each of so many of the cases, which may come again in others."""
    groups = [[cases[(at + k) % len(cases)] for k in range(items)] for at in range(len(cases))]
    return [request_of(group) for group in groups]


def request_of(cases: list[Case]) -> Request:
    items = [{"prompt": case.item.prompt, **sent(case.item)} for case in cases]
    text = json.dumps({"items": items})
    if isinstance(cases[0].item.media, bytes):
        return Request(cases, text.encode(), JSON_TYPE)
    tensors = {case.item.id: case.pixels for case in cases}
    return Request(cases, safetensors.numpy.save(tensors, {"request": text}), BINARY_TYPE)


def sent(item: Item) -> dict[str, str]:
    if isinstance(item.media, bytes):
        return {"image_b64": base64.b64encode(item.media).decode()}
    return {"tensor": item.id}


def offline(scorer: LibreHPS, cases: list[Case], seconds: float) -> float:
    """Items/s of the engine without its memory of what was scored; fills in what is wanted."""
    engine = scorer.engine()
    engine.index = None
    start, count = time.perf_counter(), 0
    # A whole round first, so that every case has its score.
    least = 0 if cases[0].want else len(cases)

    def items() -> Iterator[Item]:
        for at, case in enumerate(cycle(cases)):
            if at >= least and time.perf_counter() - start >= seconds:
                return
            yield case.item

    for row in engine.run(items()):
        assert row.score is not None, row.error
        values = {a: getattr(row.score, a) for a in AXES}
        cases[int(row.item.id)].want = {
            **{a: axis.mean for a, axis in values.items()},
            **{f"{a}_mu": axis.raw_mean for a, axis in values.items()},
        }
        count += 1
    return count / (time.perf_counter() - start)


async def client(
    at: int, plan: "Plan", port: int, own: list[Request], until: float, tally: Tally
) -> None:
    rng, link = random.Random(at), Link(port)
    for count, request in enumerate(cycle(own)):
        if count >= MIN_REQUESTS[plan.model] and time.perf_counter() >= until:
            break
        kind = rng.choices(("ok", "broken", "oversized", "torn"), plan.odds)[0]
        await asyncio.wait_for(one(kind, request, link, tally), 180)
    await link.close()


async def one(kind: str, request: Request, link: Link, tally: Tally) -> None:
    body = BODIES.get(kind) or request.body[: -9 if kind == "torn" else None]
    start = time.perf_counter()
    try:
        type = JSON_TYPE if kind in BODIES else request.type
        status, answer = await link.post("/score", body, type)
    except (OSError, asyncio.IncompleteReadError) as error:
        tally.wrong.append(f"{kind}: lost, {error!r}")
        await link.close()
        return
    tally.kinds[kind] += 1
    if kind == "ok":
        tally.latencies.append(time.perf_counter() - start)
    if (status, kind) not in ((200, "ok"), (200, "broken"), (413, "oversized"), (422, "torn")):
        tally.wrong.append(f"{kind}: {status} {answer[:200]!r}")
    elif status == 200:
        found = json.loads(answer)["items"]
        if kind == "ok":
            tally.items += len(found)
            for case, scores in zip(request.cases, found, strict=True):
                check(case, scores, tally)
        elif found[0]["error_type"] != "BrokenMediaError":
            tally.wrong.append(f"broken: {found}")


def check(case: Case, found: dict[str, Any], tally: Tally) -> None:
    means = max(abs(found[a] - case.want[a]) for a in AXES)
    mus = max(abs(found[f"{a}_mu"] - case.want[f"{a}_mu"]) for a in AXES)
    tally.worst = [max(tally.worst[0], means), max(tally.worst[1], mus)]
    if means > MEAN_BOUND or mus > MU_BOUND:
        tally.wrong.append(f"score off by {means:.2g} / {mus:.2g}")


async def load(
    plan: "Plan", port: int, requests: list[Request], seconds: float, tally: Tally
) -> float:
    """Scored items/s, to the last answer."""
    start, before = time.perf_counter(), tally.items
    async with asyncio.TaskGroup() as group:
        for at in range(plan.clients):
            own = requests[at :: plan.clients]
            group.create_task(client(at, plan, port, own, start + seconds, tally))
    return (tally.items - before) / (time.perf_counter() - start)


def rss(server: Server) -> float:
    """Megabytes of the process and its children."""
    process = psutil.Process(server.process.pid)
    return sum(p.memory_info().rss for p in (process, *process.children(recursive=True))) / 1e6


def cpu(server: Server) -> tuple[float, float]:
    """CPU seconds of the event loop, which is the main thread, and of all else in the server."""
    process = psutil.Process(server.process.pid)
    loop = next(sum(one[1:]) for one in process.threads() if one.id == process.pid)
    return loop, sum(sum(p.cpu_times()[:2]) for p in (process, *process.children())) - loop


@contextmanager
def idle_share(shares: list[float]) -> Iterator[None]:
    """Append the share of the machine's cores that nothing used during the block, in [0, 1]."""
    before = psutil.cpu_times()
    yield
    spent = [b - a for a, b in zip(before, psutil.cpu_times(), strict=True)]
    shares.append(spent[before._fields.index("idle")] / sum(spent))


def client_cpu(port: int, cases: list[Case], body: str) -> float:
    """CPU milliseconds an item of a RewardClient, whose server is another process."""
    rewards = RewardClient(f"http://127.0.0.1:{port}")
    items = [
        Item(str(at), image if body == "binary" else case.item.media, case.item.prompt, "image")
        for at, case in enumerate(cases)
        for image in [Image.fromarray(case.pixels)]
    ]
    [*rewards.rows(items[:2])]
    start = time.process_time()
    [*rewards.rows(items)]
    return (time.process_time() - start) / len(items) * 1000


@dataclass
class Report:
    """Rates in items/s, one a round; resident memory in MB before and after.

    `alike`: offline rates on the server's devices, if not `cpu`; `idle`: unused shares of cores.
    """

    offline: list[float]
    served: list[float]
    tally: Tally
    rss: list[float]
    alike: list[float] = field(default_factory=list)
    idle: list[float] = field(default_factory=list)
    offline_idle: list[float] = field(default_factory=list)
    # CPU milliseconds: an item, offline and of a RewardClient; of the server's event loop, and of
    # all else in it, in all rounds.
    offline_cpu: float = 0.0
    client_cpu: float = 0.0
    loop_cpu: float = 0.0
    other_cpu: float = 0.0

    def add_cpu(self, before: tuple[float, float], after: tuple[float, float]) -> None:
        self.loop_cpu += (after[0] - before[0]) * 1000
        self.other_cpu += (after[1] - before[1]) * 1000

    @property
    def share(self) -> float:
        """Return the served rate over the rate of offline scoring just before and after."""
        around = [(a + b) / 2 for a, b in zip(self.offline, self.offline[1:], strict=False)]
        return statistics.median(s / o for s, o in zip(self.served, around, strict=True))

    def text(self) -> str:
        shares = [f"{s / a:.0%} of {a:.1f}" for s, a in zip(self.served, self.alike, strict=False)]
        alike = f" ({', '.join(shares)} on the same devices)" if shares else ""
        late = sorted(self.tally.latencies)
        p50, p99 = (late[int(len(late) * q)] for q in (0.5, 0.99))
        loop, others = (total / self.tally.items for total in (self.loop_cpu, self.other_cpu))
        return (
            f"offline {', '.join(f'{r:.1f}' for r in self.offline)} items/s; "
            f"served {', '.join(f'{r:.1f}' for r in self.served)}: {self.share:.0%}{alike}\n"
            f"cores idle: offline {statistics.mean(self.offline_idle):.0%}, "
            f"served {statistics.mean(self.idle):.0%}\n"
            f"CPU ms an item: offline {self.offline_cpu:.2f}; server's loop {loop:.2f}, "
            f"all else {others:.2f}; RewardClient {self.client_cpu:.2f}\n"
            f"p50 {p50 * 1000:.0f} ms, p99 {p99 * 1000:.0f} ms; "
            f"RSS {', '.join(f'{m:.0f}' for m in self.rss)} MB\n"
            f"answers {dict(self.tally.kinds)}; wrong or lost {len(self.tally.wrong)} "
            f"{self.tally.wrong[:5]}; "
            f"off by {self.tally.worst[0]:.1g} in mean, {self.tally.worst[1]:.1g} in mu"
        )


@dataclass(frozen=True)
class Plan:
    """A plan of a run: `seconds` of serving in all rounds, `odds` of the kinds of requests."""

    model: str
    body: str
    clients: int
    items: int
    seconds: float
    rounds: int
    odds: tuple[int, ...] = MIXED
    device: str = "cpu"
    checkpoint: str | Path = "tiny"

    def load(self, port: int, requests: list[Request], seconds: float, tally: Tally) -> float:
        return asyncio.run(load(self, port, requests, seconds, tally))


def run(plan: Plan) -> Report:
    size, format = (192, "PNG") if plan.model == "tiny" else (1024, "JPEG")
    count = max(2 * plan.clients, MIN_CASES[plan.model])
    cases = make_cases(count, size, format, plan.body)
    requests = make_requests(cases, plan.items)
    model = ("--model", plan.checkpoint, "--device", plan.device)
    limits = ("--max-body-mb", MAX_BODY_MB, "--timeout-s", 170)
    command = (sys.executable, "-m", "librehps_cli", "serve", "--port", "0")
    server = Server.start(*model, *limits, command=command)
    try:
        scorer = LibreHPS.from_pretrained(plan.checkpoint, device="cpu")
        tally, share, alike = Tally(), plan.seconds / plan.rounds, None
        if plan.device != "cpu":
            alike = LibreHPS.from_pretrained(plan.checkpoint, device=plan.device)
        report = Report([offline(scorer, cases, share / 2)], [], tally, [])
        report.offline_cpu = offline_cpu(scorer, cases)
        plan.load(server.port, requests, min(3, share), Tally())
        few = cases[: MIN_CASES[plan.model]]
        report.client_cpu = client_cpu(server.port, few, plan.body)
        report.rss.append(rss(server))
        for _ in range(plan.rounds):
            before = cpu(server)
            with idle_share(report.idle):
                report.served.append(plan.load(server.port, requests, share, tally))
            report.add_cpu(before, cpu(server))
            report.rss.append(rss(server))
            if alike is not None:
                report.alike.append(offline(alike, cases, share / 2))
            with idle_share(report.offline_idle):
                report.offline.append(offline(scorer, cases, share / 2))
        assert server.stop() == 0
        return report
    finally:
        server.process.kill()


def offline_cpu(scorer: LibreHPS, cases: list[Case]) -> float:
    """CPU milliseconds an item of the engine, of as many items as there are cases."""
    engine = scorer.engine()
    engine.index = None
    start = time.process_time()
    count = sum(1 for _ in engine.run(case.item for case in cases))
    return (time.process_time() - start) / count * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=("tiny", "47m"), default="tiny")
    parser.add_argument("--body", nargs="+", choices=("json", "binary"), default=["json", "binary"])
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--items", type=int, default=1, help="a request")
    parser.add_argument("--seconds", type=float, default=60, help="of serving, all rounds")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only-good", action="store_true", help="no damaged requests")
    parser.add_argument("--device", default="cpu", help="of the server")
    a = parser.parse_args()
    odds = (1, 0, 0, 0) if a.only_good else MIXED
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        if a.model == "47m":
            write_checkpoint(Path(folder))
        checkpoint = folder if a.model == "47m" else a.model
        for body in a.body:
            plan = Plan(
                a.model, body, a.clients, a.items, a.seconds, a.rounds, odds, a.device, checkpoint
            )
            report = run(plan)
            print(f"{a.model}, {body}, {a.device}:\n{report.text()}", flush=True)
            wrong += len(report.tally.wrong)
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
