"""A client of two real servers, one of which is killed and started again under load."""

import asyncio
from collections import Counter

import pytest

from conftest import EXAMPLES
from librehps import Item
from librehps.rewards import AsyncRewardClient, exchange
from serve_client import Server

PROMPT = "a red circle left of a blue square"
CLIENTS = 4


def has_scored(server: Server) -> bool:
    """Return whether the server has scored an item since its start."""
    lines = server.get("/metrics")[1].decode().splitlines()
    return any(line.startswith("librehps_items_total{") and '"ok"' in line for line in lines)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_nothing_is_lost_while_one_of_two_servers_is_killed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(exchange.RetryPolicy, "wait", lambda *_: 0.01)
    media = [path.read_bytes() for path in sorted((EXAMPLES / "media").glob("*.png"))]
    servers = [Server.start(), Server.start()]
    urls = [f"http://127.0.0.1:{server.port}" for server in servers]
    client = AsyncRewardClient(urls, batch_size=1, retries=100)
    found: dict[int, set] = {at: set() for at in range(len(media))}
    counts: Counter[str] = Counter()

    async def load(over: asyncio.Event, may_go: asyncio.Event, answered: asyncio.Event) -> None:
        while not over.is_set():
            await may_go.wait()
            items = [Item(str(at), one, PROMPT) for at, one in enumerate(media)]
            for row in await client.rows(items):
                counts[row["status"]] += 1
                found[int(row["id"])].add(round(row["overall_mu"], 3))
            answered.set()

    async def until_next(answered: asyncio.Event) -> None:
        answered.clear()
        await answered.wait()

    async def kill_one() -> None:
        over, may_go, answered = (asyncio.Event() for _ in range(3))
        tasks = [asyncio.create_task(load(over, may_go, answered)) for _ in range(CLIENTS)]
        may_go.set()
        await until_next(answered)
        killed = servers[1]
        killed.process.kill()
        await asyncio.to_thread(killed.process.wait)
        await until_next(answered)
        # A pause, since a start takes long beside the load.
        may_go.clear()
        servers[1] = await asyncio.to_thread(Server.start, "--port", killed.port)
        may_go.set()
        while not await asyncio.to_thread(has_scored, servers[1]):
            await until_next(answered)
        over.set()
        await asyncio.gather(*tasks)
        await client.aclose()

    try:
        asyncio.run(kill_one())
    finally:
        assert [server.stop() for server in servers] == [0, 0]
    assert set(counts) == {"ok"}
    # Both servers score alike, to the rounding of their batches.
    assert all(max(scores) - min(scores) < 4e-3 for scores in found.values())
