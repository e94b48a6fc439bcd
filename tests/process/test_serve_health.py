"""A device that hangs or fails: what probes see, and that every request is answered.

The hanging and failing forward is a fake, since no device can be broken at will.
"""

import asyncio
import signal
import threading
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from librehps import Item, LibreHPS
from librehps.engine.devices.pool import DevicePool
from librehps.errors import DeviceError
from librehps.serve.app import make_app
from librehps.serve.device_probe import probe_input
from librehps.serve.device_watch import DeviceWatch, Patience
from librehps.serve.options import Access, Limits
from make_media import picture
from serve_client import png_b64

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
        assert (watch.status, watch.unusable_for) == ("stalled", 5)
        with pytest.raises(DeviceError):
            watch.check()
    assert (watch.status, watch.unusable_for) == ("ready", 0)


def test_a_slow_probe_makes_the_watch_patient() -> None:
    clock = Clock()

    def probe() -> None:
        clock.now += 5

    watch = DeviceWatch(probe, 10, clock)
    watch.start()
    watch.close()
    times = watch.patience
    assert (times.interval, times.timeout, times.of_batch(100)) == (500, 100, 250)


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


async def queued(service: Any) -> None:
    while not service.queue.is_running:
        await asyncio.sleep(0.01)


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
    monkeypatch.setattr("librehps.serve.device_watch.MIN_TIMEOUT_S", 0.2)
    model = Broken(monkeypatch, tiny.engine().model)

    async def test(client: httpx.AsyncClient, service: Any) -> None:
        service.device.patience = Patience()
        model.go.clear()
        try:
            task = asyncio.create_task(client.post("/score", json=GOOD))
            await queued(service)
            service.device.suspect()
            assert (await until(client, "/readyz", 503))["status"] == "stalled"
            assert (await until(client, "/livez", 503))["status"] == "stalled"
            refused = await client.post("/score", json=GOOD)
            assert (refused.status_code, refused.json()["error_type"]) == (503, "DeviceStalled")
            service.queue.abandon(DeviceError("the server ends", "stalled"))
            answer = await task
            assert (answer.status_code, answer.json()["error_type"]) == (503, "DeviceStalled")
        finally:
            model.go.set()

    in_process(tiny, test, device_timeout=0.1)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="signals")
def test_a_stopped_process_of_a_device_is_killed_and_its_batch_scored_elsewhere() -> None:
    scorer = LibreHPS.from_pretrained("tiny", device=["cpu", "cpu"])
    pool = scorer.engine().model
    assert isinstance(pool, DevicePool)
    stopped = pool._workers[0].child
    assert stopped is not None
    pool.batch_timeout = lambda _: 2.0
    stopped._process.send_signal(signal.SIGSTOP)
    [row] = scorer.score_items([Item("0", picture(64, 48), "a red circle")])
    assert row.error is None and stopped.is_dead
    pool.probe(probe_input(scorer), 60.0)
    pool.close()
