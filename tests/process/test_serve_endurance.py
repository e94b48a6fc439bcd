"""The server survives costly bodies, clients that never read, and a shutdown."""

import asyncio
import contextlib
import select
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from librehps import LibreHPS
from librehps.errors import AbandonedError
from librehps.serve.batcher import Batcher
from librehps.serve.decoding import DecodeMemory
from librehps.serve.device_watch import DeviceWatch
from librehps.serve.metrics import Metrics
from serve_client import Server, png_b64

GOOD = {"items": [{"prompt": "x", "image_b64": png_b64()}]}
PATIENCE = 1.5
GET = b"GET /health HTTP/1.1\r\nHost: localhost\r\n"


@contextmanager
def started() -> Iterator[Server]:
    """A server of little patience; one that met something unexpected fails at its end."""
    running = Server.start("--read-timeout-s", PATIENCE, "--max-items", 3, "--drain-s", 20)
    yield running
    assert running.stop() == 0
    assert "Traceback" not in "".join(running.said)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with started() as running:
        yield running


def wait_until_closed(link: socket.socket) -> None:
    """Return once the other side has closed; what it sent before is not read."""
    poll = select.poll()
    poll.register(link, select.POLLERR | select.POLLHUP | select.POLLRDHUP)
    poll.poll()


def test_bodies_of_many_values_cost_little(server: Server) -> None:
    many = b",".join([b"{}"] * 500_000)
    before = server.memory()
    for body in (b'{"items":[' + many + b"]}",
                 b'{"requests":[{"history":[' + many + b"]}]}",
                 b'{"requests":[{"history":[],"metadata":[' + many + b"]}]}"):  # fmt: skip
        answer = server.post("/score", body)
        assert (answer.status, answer.json["error_type"]) == (413, "TooManyValues")
    # As many as are allowed are refused at the first that is wrong.
    some = b",".join([b"{}"] * 6000)
    answer = server.post("/score", b'{"items":[' + some + b"]}")
    assert answer.status == 422 and len(answer[1]) < 1000
    assert server.memory() < before + 200e6


def test_samples_count_also_without_media(server: Server) -> None:
    answer = server.post("/score", {"requests": [{"history": []}] * 4})
    assert (answer.status, answer.json["error_type"]) == (422, "TooManyItems")
    both = server.post("/score", {"requests": [{"history": []}], **GOOD})
    assert both.status == 422 and "requests" in both.json["error"]
    one = server.post("/score", {"requests": [{"history": [{"text": "x", "path": "a.png"}]}]})
    assert "video_path, tensor, got 0" in one.json["errors"][0]["librehps"]


def test_a_get_whose_body_never_comes_is_cut(server: Server) -> None:
    with server.socket() as link:
        link.sendall(GET + b"Content-Length: 9\r\n\r\nx")
        wait_until_closed(link)
    with server.socket() as link:
        # Refused by the first layer, and then silent.
        link.sendall(GET.replace(b"localhost", b"localhost:evil") + b"Content-Length: 9\r\n\r\n")
        assert b"421" in link.recv(100)
        wait_until_closed(link)


def stuck(server: Server) -> socket.socket:
    """A client that asks a lot and reads nothing."""
    link = socket.socket()
    link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    link.connect(("127.0.0.1", server.port))
    link.settimeout(0.5)
    with contextlib.suppress(TimeoutError):
        while True:
            link.send((GET + b"\r\n") * 1000)
    return link


def test_who_reads_nothing_is_cut_and_ends_nothing() -> None:
    with started() as server:
        with stuck(server) as link:
            wait_until_closed(link)
        with stuck(server):
            server.terminate()
            # 1 where the end had to give up on it.
            assert server.process.wait(60) == 0


def test_a_wrong_token_is_told_also_while_much_is_sent(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("a-token-of-some-length")
    token.chmod(0o600)
    server = Server.start("--token-file", token)
    try:
        answer = server.post("/score", b'{"items": "' + b"x" * (12 << 20) + b'"}',
                             Authorization="Bearer wrong", Connection="close")  # fmt: skip
        assert answer.status == 401
    finally:
        assert server.stop() == 0


def test_a_body_that_still_comes_at_the_end_is_told_so() -> None:
    server = Server.start("--drain-s", 1)
    with server.socket() as link:
        link.sendall(b"POST /score HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json"
                     b"\r\nExpect: 100-continue\r\nContent-Length: 12\r\n\r\n{")  # fmt: skip
        # The server says so once it waits for the body.
        assert b"100 Continue" in link.recv(1000)
        server.terminate()
        answer = b""
        with contextlib.suppress(ConnectionError):
            while block := link.recv(1000):
                answer += block
    assert b"503" in answer and b'"Draining"' in answer
    assert server.process.wait(30) == 1
    said = "".join(server.said)
    assert "Traceback" not in said and "Raise --drain-s" in said


def test_nothing_is_taken_in_after_the_end(tiny: LibreHPS) -> None:
    async def main() -> None:
        queue = Batcher(
            tiny.engine(),
            8,
            0.01,
            DecodeMemory.of(1 << 30, 1 << 20),
            Metrics(),
            DeviceWatch(lambda: None, 1),
        )
        queue.abandon()
        with pytest.raises(AbandonedError):
            queue.submit([])
        await asyncio.to_thread(queue.close)

    asyncio.run(main())
