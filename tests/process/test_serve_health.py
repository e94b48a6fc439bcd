"""A device that hangs or fails: what probes see, and that every request is answered.

The hanging and failing forward is a fake, since no device can be broken at will.
"""

import asyncio
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

import forks
from librehps import Item, LibreHPS
from librehps.engine.devices import child
from librehps.engine.devices.pool import DevicePool
from librehps.errors import DeviceError, EngineError
from librehps.serve.app import make_app
from librehps.serve.device_probe import probe_input
from librehps.serve.device_watch import DeviceWatch, Patience
from librehps.serve.options import Access, Limits
from make_media import picture
from serve_client import png_b64

KILLER = Path(__file__).parents[1] / "support" / "device_killer.py"
GOOD = {"items": [{"prompt": "x", "image_b64": png_b64()}]}


class Broken:
    """A model whose launch hangs until `go`, or raises `error`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, model: Any) -> None:
        self.go, self.error = threading.Event(), None
        launch = model.launch

        def broken(batch: Any) -> Any:
            if self.error is not None:
                raise self.error
            assert self.go.wait(60)
            return launch(batch)

        self.go.set()
        monkeypatch.setattr(model, "launch", broken)


class Clock:
    """Seconds that pass only when told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_watch_follows_batches_and_probes() -> None:
    clock = Clock()
    watch = DeviceWatch(lambda: None, 10, clock)
    assert watch.status == "ready"
    with pytest.raises(DeviceError), watch.batch(10):
        raise RuntimeError("CUDA error: unspecified launch failure")
    with watch.batch(10):
        clock.now = 29
        assert watch.status == "ready"
        clock.now = 35
        assert watch.state() == ("stalled", 5)
        with pytest.raises(DeviceError):
            watch.check()
    assert watch.state() == ("ready", 0)


def test_a_batch_slower_than_all_before_is_overdue_sooner() -> None:
    clock = Clock()
    watch = DeviceWatch(lambda: None, 10, clock)
    for seconds in (0.5, *[0.1] * 18):
        with watch.batch(10):
            clock.now += seconds
    assert watch.patience.of_known_batch(10) == 30
    with watch.batch(10):
        clock.now += 2
    # Eight times the slowest; a larger batch may take longer, but as long as before at most.
    times = [watch.patience.of_known_batch(cost) for cost in (1, 10, 100)]
    assert times == [8, 16, 30]
    with watch.batch(10):
        clock.now += 17
        assert watch.state() == ("stalled", 1)
    assert watch.status == "ready"
    # A process of a pool has the same time, once it has answered as many batches.
    assert [watch.batch_timeout(1, answered) for answered in (19, 20)] == [30, 13.6]


def test_the_shortest_of_the_first_probes_sets_the_times() -> None:
    clock, seconds = Clock(), iter([90.0, 7.0, 5.0, 6.0])

    def probe() -> None:
        clock.now += next(seconds)

    watch = DeviceWatch(probe, 10, clock)
    watch.start()
    watch.close()
    times = watch.patience
    assert (times.interval, times.timeout, times.of_batch(100)) == (500, 100, 250)


def test_a_slow_batch_calls_for_a_probe_before_its_turn() -> None:
    clock = Clock()
    watch = DeviceWatch(lambda: None, 10, clock)
    watch.patience = Patience(0.1, 10)
    assert watch.due == 10
    clock.now = 4
    with watch.batch(10):
        assert watch.due == 7
    assert watch.due == 14
    watch.patience = Patience(1, 10)
    with watch.batch(10):
        # A slow device is not asked all the time.
        assert watch.due == 20
    # A failed one is, since the server takes no batches that could show that it works again.
    watch._fail()
    assert watch.due == 2


def test_a_probe_is_overdue_after_the_last_batch_that_ended() -> None:
    clock = Clock()
    seen: list[str] = []

    def probe() -> None:
        with watch.batch(10):
            clock.now += 1
        for _ in range(2):
            clock.now += 4
            seen.append(watch.status)

    watch = DeviceWatch(probe, 10, clock)
    watch.suspect()
    assert watch._wait()
    watch._try()
    assert (*seen, watch.status) == ("ready", "stalled", "ready")


def test_a_device_that_never_answers_is_an_error_at_the_start() -> None:
    release = threading.Event()
    watch = DeviceWatch(release.wait, 10, name="cuda:7")
    with pytest.raises(EngineError, match="cuda:7: no answer to a first small forward"):
        watch.start(timeout=0.01)
    release.set()


def in_process(
    tiny: LibreHPS, test: Callable[[httpx.AsyncClient, Any], Any], **limits: Any
) -> None:
    async def main() -> None:
        app = make_app(tiny, Limits(**limits), Access())
        async with app.router.lifespan_context(app):
            transport = httpx.ASGITransport(app, raise_app_exceptions=False)
            async with httpx.AsyncClient(
                transport=transport, base_url="http://localhost"
            ) as client:
                await test(client, app.state.service)

    asyncio.run(main())


async def until(client: httpx.AsyncClient, path: str, status: int) -> dict[str, Any]:
    while (answer := await client.get(path)).status_code != status:
        await asyncio.sleep(0.05)
    found: dict[str, Any] = answer.json()
    return found


def test_a_failed_device_is_unready_until_it_works_again(
    tiny: LibreHPS, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Broken(monkeypatch, tiny.engine().model)

    async def test(client: httpx.AsyncClient, service: Any) -> None:
        assert (await client.get("/readyz")).json() == {"status": "ready"}
        model.error = RuntimeError("CUDA error: device-side assert triggered")
        answer = await client.post("/score", json=GOOD)
        assert (answer.status_code, answer.json()["error_type"]) == (503, "DeviceFailed")
        assert (await until(client, "/readyz", 503))["status"] == "failed"
        health = await client.get("/health")
        assert health.status_code == 503
        assert health.json()["devices"] == [{"device": "cpu", "status": "failed"}]
        assert (await client.get("/livez")).json() == {"status": "alive"}
        refused = await client.post("/score", json=GOOD)
        assert (refused.status_code, refused.json()["error_type"]) == (503, "DeviceFailed")
        text = (await client.get("/metrics")).text
        assert 'librehps_items_total{outcome="DeviceError"} 1.0' in text
        assert 'librehps_batches_failed_total{error="DeviceError"} 1.0' in text
        model.error = None
        service.device.suspect()
        await until(client, "/readyz", 200)
        assert (await client.post("/score", json=GOOD)).status_code == 200

    in_process(tiny, test)


def test_a_hung_device_is_unready_and_its_requests_are_answered(
    tiny: LibreHPS, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("MIN_INTERVAL_S", "MIN_TIMEOUT_S"):
        monkeypatch.setattr(f"librehps.serve.device_watch.{name}", 0.2)
    model = Broken(monkeypatch, tiny.engine().model)

    async def test(client: httpx.AsyncClient, service: Any) -> None:
        model.go.clear()
        try:
            task = asyncio.create_task(client.post("/score", json=GOOD))
            assert (await until(client, "/readyz", 503))["status"] == "stalled"
            assert (await until(client, "/livez", 503))["status"] == "stalled"
            refused = await client.post("/score", json=GOOD)
            assert (refused.status_code, refused.json()["error_type"]) == (503, "DeviceStalled")
            service.gate.give_up(service.lost)
            late = await client.post("/score", json=GOOD)
            assert (late.status_code, late.json()["error_type"]) == (503, "DeviceStalled")
            service.queue.abandon(service.lost)
            answer = await task
            assert (answer.status_code, answer.json()["error_type"]) == (503, "DeviceStalled")
        finally:
            model.go.set()

    in_process(tiny, test, device_timeout=0.1)


def test_errors_of_items_are_not_those_of_the_device(tiny: LibreHPS) -> None:
    async def test(client: httpx.AsyncClient, service: Any) -> None:
        wrong = {"items": [{"prompt": "", "image_b64": png_b64()}] * 4}
        answer = await client.post("/score", json=wrong)
        assert {item["status"] for item in answer.json()["items"]} == {"error"}
        assert (await client.get("/readyz")).status_code == 200

    in_process(tiny, test)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="signals")
def test_a_process_of_a_device_that_hangs_is_killed_and_its_batch_scored_elsewhere(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(child, "PYTHON", (*forks.python(), str(KILLER), str(tmp_path), ""))
    scorer = LibreHPS.from_pretrained("tiny", device=["cpu", "cpu"])
    pool, item = scorer.engine().model, probe_input(scorer.engine())
    assert isinstance(pool, DevicePool)
    processes = [psutil.Process(int(file.name)) for file in tmp_path.iterdir()]
    processes[0].suspend()
    # The other process answers; the probe of the stopped one waits.
    pool.probe(item, 600.0)
    assert all(process.is_running() for process in processes)
    pool.batch_times = watch = DeviceWatch(lambda: None, item.cost, attempts=3)
    monkeypatch.setattr(watch, "batch_timeout", lambda *_: 1.0)
    rows = list(scorer.score_items([Item(str(at), picture(64, 48, at), "x") for at in range(6)], 1))
    assert [row.error for row in rows] == [None] * 6
    assert watch.patience.seen >= 6 and watch.patience.slowest > 0
    assert psutil.wait_procs(processes[:1], 60)[0] == processes[:1]
    with pool._shared.changed:
        assert pool._shared.changed.wait_for(lambda: all(w.child for w in pool._workers), 60)
    pool.close()
    with pytest.raises(EngineError, match=r"no device answers \(cpu .*, cpu "):
        pool.probe(item, 600.0)
