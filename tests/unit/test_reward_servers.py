"""Clients of several reward servers, and clients for asyncio."""

import asyncio
import heapq
import pickle
import threading
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from conftest import EXAMPLES
from librehps import LibreHPS
from librehps.errors import MediaError, RewardServerError
from librehps.rewards import AsyncRewardClient, RewardClient, balance, exchange
from librehps.rewards.answers import Lost
from librehps.rewards.balance import Server, Servers
from librehps.types import Item, Stored
from reward_stand_in import (
    BOUND,
    PROMPT,
    STILLS,
    Handler,
    StandIn,
    cut_short,
    drop,
    items,
    nothing_listens,
    refuse,
)  # fmt: skip

pytest_plugins = ["reward_stand_in"]

Serve = Callable[..., StandIn]


def test_a_request_goes_to_the_server_with_the_fewest() -> None:
    one, two = Server("http://a"), Server("http://b")
    servers = Servers([one, two])
    assert [servers.pick({}, set()) for _ in range(4)] == [one, two, one, two]
    for _ in range(2):
        servers.release(two)
    assert [servers.pick({}, set()) for _ in range(3)] == [two, two, one]
    # This request has failed on one of them, or must not go there yet.
    assert servers.pick({}, {one}) is two
    assert servers.pick({two: float("inf")}, set()) is one
    servers.failed(one, 0.0, float("inf"))
    assert servers.pick({}, set()) is servers.pick({}, set()) is two
    assert servers.pick({}, {two}) is None


def test_two_servers_share_the_requests(serve: Serve) -> None:
    one, two = serve(), serve()
    client = RewardClient([one.url, two.url], batch_size=1)
    client.score(items(STILLS))
    assert len(one.asked) == len(two.asked) == 2
    again = pickle.loads(pickle.dumps(client))  # noqa: S301 - our own
    assert again == client
    again.score(items(STILLS))
    assert len(one.asked) + len(two.asked) == 8


@pytest.mark.parametrize("act", [refuse(503), refuse(429), refuse(500), drop, cut_short])
def test_a_request_that_fails_on_one_goes_to_the_next(
    serve: Serve, act: Callable[[Handler], None], caplog: pytest.LogCaptureFixture
) -> None:
    one, two = serve(act), serve()
    client = RewardClient([one.url, two.url], retries=0)
    assert client.score(items(STILLS[:1])) != [None]
    assert [len(one.asked), len(two.asked)] == [1, 1]
    # Without a wait.
    assert "retry in" not in caplog.text


def test_a_server_that_is_not_ready_is_left_out_until_it_is(
    serve: Serve, waits: list[float], tiny: LibreHPS
) -> None:
    one, two = serve(refuse(503)), serve()
    one.is_ready = False
    client = RewardClient([one.url, two.url])
    for _ in range(4):
        client.score(items(STILLS[:1]))
    assert (len(one.asked), len(two.asked)) == (1, 4)
    assert one.probes >= 2
    # Waits grow, although each request has failed there once.
    assert waits[0] < waits[1] < waits[2]
    one.is_ready = True
    before = one.probes
    for _ in range(4):
        client.score(items(STILLS[:1]))
    assert (len(one.asked), one.probes) == (3, before + 1)


def test_it_gives_up_if_no_server_is_left(serve: Serve, waits: list[float]) -> None:
    two = serve(refuse(503))
    two.is_ready = False
    with nothing_listens() as url:
        client = RewardClient([url, two.url], retries=2)
        with pytest.raises(RewardServerError, match=r"cannot reach|503") as found:
            client.score(items(STILLS[:1]))
    assert "Tried 6 times" in str(found.value.hint)
    assert len(two.asked) == 1


@pytest.mark.parametrize("requests", [1, 32])
@pytest.mark.parametrize("count", [1, 2, 4])
def test_retries_last_as_long_with_many_servers(
    monkeypatch: pytest.MonkeyPatch, count: int, requests: int
) -> None:
    now = 0.0
    clock = SimpleNamespace(monotonic=lambda: now)
    monkeypatch.setattr(exchange, "time", clock)
    monkeypatch.setattr(balance, "time", clock)
    servers = Servers([Server(f"http://{at}") for at in range(count)])
    shared = exchange.Exchange(servers, exchange.RetryPolicy(8, 120.0), 1 << 24, lambda *_: None)
    due = [(0.0, at, shared.rows(items(STILLS[:1])), None) for at in range(requests)]
    with pytest.raises(RewardServerError, match="refused") as found:
        while True:
            now, at, steps, result = heapq.heappop(due)
            step = steps.send(result)
            took = step.seconds if isinstance(step, exchange.Wait) else 0.01
            result = step.call() if isinstance(step, exchange.Work) else Lost("refused")
            is_wait = isinstance(step, exchange.Wait)
            heapq.heappush(due, (now + took, at, steps, None if is_wait else result))
    # Eight waits that double from 0.5 s to 60 s.
    assert 120 < now < 120 * 1.25 + 10
    assert f"Tried {9 * count - count + 1} times" in str(found.value.hint)


def test_servers_of_other_settings_are_named(serve: Serve) -> None:
    one, two = serve(), serve()
    two.settings = "0123456789ab"
    client = RewardClient([one.url, two.url], batch_size=1)
    with pytest.raises(RewardServerError, match="servers differ in settings") as found:
        for _ in range(2):
            client.score(items(STILLS[:1]))
    assert one.url in str(found.value) and two.url in str(found.value)


def test_a_refusal_that_would_be_the_same_is_raised_at_once(serve: Serve) -> None:
    one, two = serve(refuse(401)), serve()
    with pytest.raises(RewardServerError, match="401"):
        RewardClient([one.url, two.url]).score(items(STILLS[:1]))
    assert not two.asked


def test_it_scores_the_same_without_blocking_the_loop(serve: Serve, waits: list[float]) -> None:
    class Place(Stored):
        """Bytes that are read while the loop goes on: only the loop lets them come."""

        def __init__(self) -> None:
            self.may_come, self.asked = threading.Event(), threading.Event()

        def read(self) -> bytes:
            self.asked.set()
            if not self.may_come.wait(20):
                raise MediaError("the loop is blocked")
            return STILLS[1].read_bytes()

        @property
        def name(self) -> str:
            return "x.png"

    server = serve(refuse(503), drop, refuse(429, Retry_After="1"))
    media = [*STILLS, EXAMPLES / "media" / "gone.png", EXAMPLES / "media" / "steady.mp4"]
    expected = RewardClient(server.url).rows(items(media))
    client = AsyncRewardClient(server.url, batch_size=2)
    place = Place()

    async def both() -> list:
        slow = asyncio.create_task(client.score([Item("slow", place, PROMPT)]))
        rows = await client.rows(items(media))
        while not place.asked.is_set():
            await asyncio.sleep(0)
        place.may_come.set()
        assert (await slow)[0]["status"] == "ok"
        await client.aclose()
        return rows

    # Each loop has its own connections.
    for rows in (asyncio.run(both()), asyncio.run(both())):
        assert [row["status"] for row in rows] == [row["status"] for row in expected]
        for row, other in zip(rows, expected, strict=True):
            assert row.get("overall_mu") == pytest.approx(other.get("overall_mu"), abs=BOUND)
    assert len(waits) == 3
    assert client.settings == server.settings


def test_one_fatal_error_ends_the_other_requests_of_the_loop(serve: Serve) -> None:
    refused = threading.Event()

    def later(handler: Handler) -> None:
        handler.say(503, b"", Retry_After="60")
        refused.set()

    def fatal(handler: Handler) -> None:
        refused.wait(5)
        handler.say(401, b'{"detail": "no token"}')

    server = serve(later, fatal)
    client = AsyncRewardClient([server.url], "s3cret", batch_size=1)

    async def ask() -> None:
        with pytest.raises(RewardServerError, match="401") as found:
            await client.rows(items(STILLS[:2]))
        assert "s3cret" not in f"{found.value}{client!r}"
        assert len(asyncio.all_tasks()) == 1
        task = asyncio.create_task(client.rows(items(STILLS[:1])))
        server.acts.append(later)
        while not server.asked[2:]:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(asyncio.all_tasks()) == 1
        await client.aclose()

    asyncio.run(ask())
    (kept,) = client._processes.values()
    assert kept.servers.all[0].in_flight == 0


def test_an_answer_that_does_not_come_has_a_deadline_in_a_loop(serve: Serve) -> None:
    asleep = threading.Event()
    server = serve(lambda handler: asleep.wait(5))
    client = AsyncRewardClient(server.url, retries=0, timeout=0.2)
    with pytest.raises(RewardServerError, match="timed out"):
        asyncio.run(client.rows(items(STILLS[:1])))
    asleep.set()


def test_loops_that_end_leave_no_connections(serve: Serve) -> None:
    client = AsyncRewardClient(serve().url, batch_size=1, parallel=1)
    for _ in range(3):
        # Tasks that wait for each other bind what they share to the loop.
        assert None not in asyncio.run(client.score(items(STILLS[:2])))
    (kept,) = client._processes.values()
    assert len(kept.of_loops) == 1
