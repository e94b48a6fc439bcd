"""Items a second from a web server with latency, beside latency x items / workers.

    python benchmarks/remote_reading.py [--items 400] [--latency 0.1] [--workers 2 8 32] [--engine]

A local server in a process of its own answers each request after the latency. Without --engine the
read stage is measured with a decode by Pillow, which needs no torch; with it the engine, whose
model returns constants. The first line warms up.
"""

import argparse
import io
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1] / "tests/support"))

from librehps.engine.reading import ReadAhead
from librehps.media.archived import Remote
from librehps.media.media import Media
from librehps.types import Item
from web_server import serving

SIDE = 256


def serve(items: int, latency: float) -> None:
    """Serve pictures until the standard input ends; print the URL."""
    content = io.BytesIO()
    Image.effect_noise((SIDE, SIDE), 60).convert("RGB").save(content, "JPEG")
    files = {f"/{at}.jpg": content.getvalue() for at in range(items)}
    with serving(files, latency=latency) as web:
        print(web.url, flush=True)
        sys.stdin.read()


@contextmanager
def server(items: int, latency: float) -> Iterator[str]:
    """Yield the URL of a server in another process."""
    command = [sys.executable, __file__, "--serve", "--items", str(items), f"--latency={latency}"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None and process.stdout is not None
        try:
            yield process.stdout.readline().decode().strip()
        finally:
            process.stdin.close()


def read_and_decode(items: list[Item], workers: int) -> int:
    """Return the number of items that the read stage and `workers` decode threads finish."""

    def decoded(content: Media) -> int:
        return Image.open(io.BytesIO(content.data)).convert("RGB").width

    reading, pool = ReadAhead(), ThreadPoolExecutor(workers)
    found: list[Future[int]] = []
    for item in items:
        content = Media(item.media)
        found.append(
            reading.submit(
                content, item.kind, lambda content=content: pool.submit(decoded, content)
            )
        )
    done = sum(one.result() > 0 for one in found)
    reading.close()
    pool.shutdown()
    return done


def engine_run() -> Callable[[list[Item], int], int]:
    """Return a function that gives the number of items that the engine scores."""
    from constant_model import ConstantModel
    from librehps import LibreHPS

    scorer = LibreHPS.from_pretrained("tiny", device="cpu", dtype="float32")

    def run(items: list[Item], workers: int) -> int:
        engine = replace(
            scorer.engine(), model=ConstantModel(scorer.axes, False), workers=workers, index=None
        )
        return sum(row.status == "ok" for row in engine.run(items))

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=400)
    parser.add_argument("--latency", type=float, default=0.1)
    parser.add_argument("--workers", type=int, nargs="+", default=[2, 8, 32])
    parser.add_argument("--engine", action="store_true")
    parser.add_argument("--serve", action="store_true")
    chosen = parser.parse_args()
    if chosen.serve:
        serve(chosen.items, chosen.latency)
        return
    run = engine_run() if chosen.engine else read_and_decode
    print(f"Python {sys.version.split()[0]}, {'engine' if chosen.engine else 'read stage'}")
    print("workers  seconds  items/s  CPU s  latency x items / workers  ratio")
    for workers in [chosen.workers[0], *chosen.workers]:
        with server(chosen.items, chosen.latency) as url:
            items = [
                Item(f"{at}", Remote(f"{url}/{at}.jpg"), "x", "image") for at in range(chosen.items)
            ]
            start, cpu = time.perf_counter(), time.process_time()
            done = run(items, workers)
            seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
        assert done == chosen.items, f"{done} of {chosen.items}"
        bound = chosen.latency * chosen.items / workers
        print(
            f"{workers:7}  {seconds:7.2f}  {done / seconds:7.0f}  {cpu:5.2f}  {bound:25.2f}  "
            f"{seconds / bound:5.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
