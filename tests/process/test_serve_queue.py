"""The queue: requests wait for room, time out, fail and end as documented."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx
import pytest
import torch
from fastapi import FastAPI

from librehps import LibreHPS
from librehps.serve import body_pace
from librehps.serve.app import make_app
from librehps.serve.logs import RequestRecord
from librehps.serve.options import Access, Limits
from serve_client import png_b64

GOOD = {"items": [{"prompt": "x", "image_b64": png_b64()}]}


@asynccontextmanager
async def inside(
    scorer: LibreHPS, limits: Limits
) -> AsyncIterator[tuple[httpx.AsyncClient, FastAPI]]:
    """The app in this process."""
    app = make_app(scorer, limits, Access())
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            yield client, app


def stall(app: FastAPI) -> threading.Event:
    """Holds every batch until the event is set."""
    queue, go = app.state.service.queue, threading.Event()
    run = queue._run

    def held(ready: list[Any]) -> list[Any]:
        go.wait(60)
        return run(ready)

    queue._run = held
    return go


def give_time(app: FastAPI) -> None:
    """Let later requests take as long as they need, also on a busy machine."""
    app.state.service.limits = replace(app.state.service.limits, timeout=60.0)


async def empty(app: FastAPI) -> None:
    while app.state.service.queue.depth:
        await asyncio.sleep(0)


def admissions(app: FastAPI) -> asyncio.Semaphore:
    """Released once for each request whose items are taken in."""
    queue, taken = app.state.service.queue, asyncio.Semaphore(0)
    submit = queue.submit

    def told(items: list[Any]) -> list[Any]:
        answers: list[Any] = submit(items)
        taken.release()
        return answers

    queue.submit = told
    return taken


def test_requests_wait_for_room_in_the_order_of_arrival(tiny: LibreHPS) -> None:
    async def main() -> None:
        async with inside(tiny, Limits(max_items=3, max_queue=5)) as (client, app):
            go, taken = stall(app), admissions(app)
            ended: list[int] = []

            async def post(items: int) -> httpx.Response:
                answer = await client.post("/score", json={"items": GOOD["items"] * items})
                ended.append(items)
                return answer

            def waiting() -> int:
                return len(app.state.service.queue._waiting)

            tasks = [asyncio.create_task(post(3)), asyncio.create_task(post(2))]
            for _ in tasks:
                await taken.acquire()
            for count, items in enumerate((3, 1, 1), start=1):
                tasks.append(asyncio.create_task(post(items)))
                while waiting() < count:
                    await asyncio.sleep(0)
            assert "librehps_queue_items 5.0" in (await client.get("/metrics")).text
            answer = await client.post("/score", json=GOOD | {"items": GOOD["items"] * 3})
            assert (answer.status_code, answer.json()["error_type"]) == (429, "QueueFull")
            assert int(answer.headers["Retry-After"]) >= 1
            tasks.pop().cancel()
            go.set()
            assert {(await task).status_code for task in tasks} == {200}
            assert sorted(ended) == [1, 2, 3, 3] and ended.index(1) > 1
            assert (await post(3)).status_code == 200 and not waiting()

    asyncio.run(main())


def test_a_batch_starts_on_an_idle_core_while_another_runs(tiny: LibreHPS) -> None:
    """A batch that is not full waits only while all cores have a batch."""

    async def main() -> None:
        async with inside(tiny, Limits(max_wait=0.0)) as (client, app):
            go, queue = stall(app), app.state.service.queue
            tasks = []
            for running, ready in ((1, 0), (2, 0), (2, 1)):
                tasks.append(asyncio.create_task(client.post("/score", json=GOOD)))
                while (queue._flying, len(queue._ready)) != (running, ready):
                    await asyncio.sleep(0)
            go.set()
            assert {(await task).status_code for task in tasks} == {200}

    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        asyncio.run(main())
    finally:
        torch.set_num_threads(threads)


def test_requests_that_leave_while_they_wait(tiny: LibreHPS) -> None:
    async def main() -> None:
        async with inside(tiny, Limits(max_items=4, max_queue=5)) as (client, app):
            go, taken = stall(app), admissions(app)
            waiting = app.state.service.queue._waiting

            async def post(items: int, until: int) -> asyncio.Task[httpx.Response]:
                body = {"items": GOOD["items"] * items}
                task = asyncio.create_task(client.post("/score", json=body))
                while len(waiting) < until:
                    await asyncio.sleep(0)
                return task

            kept = [await post(3, 0)]
            await taken.acquire()
            first = await post(3, 1)
            for _ in range(200):
                # Neither the place of one that left nor its items count.
                left = await post(2, 2)
                left.cancel()
                while len(waiting) > 1:
                    await asyncio.sleep(0)
            kept.append(await post(2, 2))
            first.cancel()
            # What fits now is added at once, before any other item is done.
            await taken.acquire()
            assert not waiting and app.state.service.queue.depth == 5
            go.set()
            assert {(await task).status_code for task in kept} == {200}

    asyncio.run(main())


def test_a_request_that_never_finds_room(tiny: LibreHPS) -> None:
    async def main() -> None:
        async with inside(tiny, Limits(max_items=1, max_queue=1, timeout=0.5)) as (client, app):
            go = stall(app)
            answers = await asyncio.gather(*(client.post("/score", json=GOOD) for _ in range(2)))
            assert {answer.status_code for answer in answers} == {504}
            go.set()
            await empty(app)
            give_time(app)
            assert (await client.post("/score", json=GOOD)).status_code == 200

    asyncio.run(main())


def test_requests_that_wait_for_room_at_the_end(tiny: LibreHPS) -> None:
    async def main() -> None:
        async with inside(tiny, Limits(max_items=1, max_queue=1)) as (client, app):
            go = stall(app)
            queue = app.state.service.queue
            tasks = [asyncio.create_task(client.post("/score", json=GOOD)) for _ in range(2)]
            while not queue._waiting:
                await asyncio.sleep(0)
            queue.abandon()
            # As a request whose body was being parsed.
            tasks.append(asyncio.create_task(client.post("/score", json=GOOD)))
            assert {(await task).status_code for task in tasks} == {503}
            go.set()

    asyncio.run(main())


def test_a_request_that_takes_too_long(tiny: LibreHPS) -> None:
    async def main() -> None:
        async with inside(tiny, Limits(timeout=0.5)) as (client, app):
            go = stall(app)
            many = [client.post("/score", json={"items": GOOD["items"] * 40}) for _ in range(2)]
            answers = await asyncio.gather(*many)
            assert {a.status_code for a in answers} == {504}
            assert answers[0].json()["error_type"] == "Timeout"
            batches = []
            queue = app.state.service.queue
            run, queue._run = queue._run, lambda ready: batches.append(ready) or run(ready)
            go.set()
            await empty(app)
            assert not batches
            give_time(app)
            assert (await client.post("/score", json=GOOD)).status_code == 200

    asyncio.run(main())


def test_a_batch_that_fails_is_one_answer(tiny: LibreHPS) -> None:
    async def main() -> None:
        async with inside(tiny, Limits()) as (client, app):
            queue = app.state.service.queue
            go = stall(app)
            run = queue._run

            def fail(ready: list[Any]) -> list[Any]:
                queue._run = run
                raise RuntimeError("secret")

            queue._run = fail
            many = {"items": GOOD["items"] * (queue.size + 1)}
            answer = await client.post("/score", json=many)
            assert answer.status_code == 500
            assert answer.json()["error_type"] == "InternalError" and "secret" not in answer.text
            # Nobody waits for the other batches.
            await empty(app)
            go.set()
            assert (await client.post("/score", json=GOOD)).status_code == 200

    asyncio.run(main())


def test_what_is_not_finished_in_time_is_told_so(tiny: LibreHPS) -> None:
    async def main() -> None:
        async with inside(tiny, Limits()) as (client, app):
            go, taken = stall(app), admissions(app)
            task = asyncio.create_task(client.post("/score", json=GOOD))
            await taken.acquire()
            app.state.service.gate.drain()
            refused = await client.post("/score", json=GOOD)
            assert refused.status_code == 503 and refused.headers["Connection"] == "close"
            assert (await client.get("/health")).json()["status"] == "draining"
            app.state.service.queue.abandon()
            answer = await task
            assert (answer.status_code, answer.json()["error_type"]) == (503, "Draining")
            go.set()

    asyncio.run(main())


def large(size: int = (2 << 20) - 1) -> bytes:
    body = json.dumps(GOOD).encode()
    return body + b" " * (size - len(body))


async def _blocks() -> AsyncIterator[bytes]:
    for _ in range(4):
        yield b" " * (1 << 19)


@asynccontextmanager
async def crowded(
    scorer: LibreHPS,
) -> AsyncIterator[tuple[FastAPI, list[asyncio.Task[httpx.Response]], threading.Event]]:
    """An app with 7 large bodies, for which it has memory, and 5 that wait."""
    async with inside(scorer, Limits(max_body=2 << 20)) as (client, app):
        go, taken = stall(app), admissions(app)
        json_type = {"Content-Type": "application/json"}

        def post(body: bytes) -> asyncio.Task[httpx.Response]:
            return asyncio.create_task(client.post("/score", content=body, headers=json_type))

        tasks = [post(large()) for _ in range(12)]
        for _ in range(7):
            await taken.acquire()
        # A small body need not wait, and a body of unknown size cannot.
        tasks.append(post(large(1 << 19)))
        await taken.acquire()
        answer = await client.post("/score", content=_blocks(), headers=json_type)
        assert (answer.status_code, answer.json()["error_type"]) == (429, "Busy")
        assert taken.locked() and not any(task.done() for task in tasks)
        yield app, tasks, go
        go.set()


def test_large_bodies_wait_for_memory(tiny: LibreHPS) -> None:
    async def main() -> None:
        async with crowded(tiny) as (_, tasks, go):
            tasks.pop(8).cancel()
            go.set()
            answers = await asyncio.gather(*tasks)
            assert [answer.status_code for answer in answers] == [200] * 12

    asyncio.run(main())


def test_large_bodies_that_never_find_memory(tiny: LibreHPS) -> None:
    async def main() -> None:
        async with crowded(tiny) as (app, tasks, go):
            # Half of the 8 items in the queue take so many seconds.
            app.state.service.queue._rate = 4 / 30
            for deadline in app.state.service.gate.deadlines:
                deadline.reschedule(0.0)
            for answer in await asyncio.gather(*tasks[7:12]):
                assert (answer.status_code, answer.json()["error_type"]) == (429, "Busy")
                assert answer.headers["Retry-After"] == "30"
            go.set()
            answers = await asyncio.gather(*tasks[:7], tasks[12])
            assert [answer.status_code for answer in answers] == [200] * 8

    asyncio.run(main())


def test_slow_large_bodies_give_way_to_those_that_wait(
    tiny: LibreHPS, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(body_pace, "CHECK_S", 0.01)
    monkeypatch.setattr(body_pace, "BEHIND_S", 0.02)
    started, stopped = asyncio.Semaphore(0), asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield b" "
        started.release()
        await stopped.wait()

    async def main() -> None:
        async with inside(tiny, Limits(max_body=2 << 20)) as (client, _):

            def post(body: Any) -> asyncio.Task[httpx.Response]:
                headers = {"Content-Type": "application/json", "Content-Length": str(2 << 20)}
                return asyncio.create_task(client.post("/score", content=body, headers=headers))

            late = [post(slow()) for _ in range(7)]
            for _ in late:
                await started.acquire()
            assert (await post(large(2 << 20))).status_code == 200
            (first, *_), rest = await asyncio.wait(late, return_when=asyncio.FIRST_COMPLETED)
            answer = (await first).json()
            assert answer["error_type"] == "SlowBody" and "its memory" in answer["error"]
            # Nobody waits any more: the others may take their time.
            stopped.set()
            assert {answer.status_code for answer in await asyncio.gather(*rest)} <= {422}

    asyncio.run(main())


def test_a_slow_body_has_time_to_catch_up_once_others_wait() -> None:
    async def main() -> None:
        async with asyncio.timeout(60) as deadline:
            pace = body_pace.Pace()
            before = asyncio.get_running_loop().time() - 100
            arrival = body_pace.Arrival(deadline, before, size=100)
            pace.arrivals.add(arrival)
            with pace.enforced():
                pace.check()
                assert not arrival.is_too_slow

    asyncio.run(main())


def test_the_wait_for_memory_counts_as_time_of_the_request(
    tiny: LibreHPS, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with crowded(tiny) as (_, tasks, go):
            monkeypatch.setattr(RequestRecord, "seconds", 1000.0)
            go.set()
            answers = await asyncio.gather(*tasks)
            assert [answer.status_code for answer in answers] == [200] * 7 + [504] * 5 + [200]

    asyncio.run(main())


def test_large_bodies_that_wait_at_the_end(tiny: LibreHPS) -> None:
    async def main() -> None:
        async with crowded(tiny) as (app, tasks, _):
            app.state.service.gate.drain()
            app.state.service.gate.give_up()
            app.state.service.queue.abandon()
            assert {answer.status_code for answer in await asyncio.gather(*tasks)} == {503}

    asyncio.run(main())
