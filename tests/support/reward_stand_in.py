"""A stand-in for the reward server on loopback, which fails on command, and its fixtures."""

import base64
import json
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load

from librehps import Item, LibreHPS
from librehps.rewards import exchange
from librehps.scores.row import to_record
from paths import EXAMPLES

PROMPT = "a red circle left of a blue square"
STILLS = [EXAMPLES / "media" / f"{name}.png" for name in ("match", "torn", "swapped", "blurred")]
BOUND = 2e-3

Act = Callable[["Handler"], None]


class StandIn(ThreadingHTTPServer):
    """Does `acts` in turn, then scores; keeps what it was asked and when it was told to wait.

    `reads` has the forms that it reads beyond plain JSON: "binary", "frames".
    """

    daemon_threads = True

    def __init__(self, model: LibreHPS, acts: list[Act]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.model, self.acts, self.lock = model, acts, threading.Lock()
        self.asked: list[dict] = []
        self.tensors: list[dict[str, np.ndarray]] = []
        self.sizes: list[int] = []
        self.headers: list[dict] = []
        self.largest, self.settings = 1 << 30, model.settings.digest
        self.reads, self.is_ready = {"binary", "frames"}, True
        self.probes = self.links = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def answer(self, request: dict, tensors: dict[str, np.ndarray]) -> dict:
        items = [Item(one["id"], self._media(one, tensors), one["prompt"], one.get("kind"))
                 for one in request["items"]]  # fmt: skip
        with self.lock:
            rows = [to_record(row, self.model.settings) for row in self.model.score_items(items)]
        return {"items": rows, "settings": self.settings}

    @staticmethod
    def _media(one: dict, tensors: dict[str, np.ndarray]) -> Any:
        if "tensor" in one:
            tensor = tensors[one["tensor"]]
            return {1: tensor.tobytes(), 4: [*tensor]}.get(tensor.ndim, tensor)
        if "frames_b64" in one:
            return [base64.b64decode(frame) for frame in one["frames_b64"]]
        one["kind"] = "video" if "video_b64" in one else "image"
        return base64.b64decode(one[f"{one['kind']}_b64"])


class Handler(BaseHTTPRequestHandler):
    server: StandIn
    # Connections are kept.
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        super().setup()
        self.server.links += 1

    def do_GET(self) -> None:
        self.server.probes += self.path == "/readyz"
        self.say(200 if self.server.is_ready else 503, b"{}")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        is_binary = self.headers["Content-Type"] == "application/x-safetensors"
        if is_binary and "binary" not in self.server.reads:
            return self.say(415, b'{"error_type": "NotJson", "error": "unsupported"}')
        with self.server.lock:
            act = self.server.acts.pop(0) if self.server.acts else None
        if len(body) > self.server.largest:
            return self.say(413, b"too large")
        request, tensors = read_binary(body) if is_binary else (json.loads(body), {})
        self.server.sizes.append(len(body))
        self.server.asked.append(request)
        self.server.tensors.append(tensors)
        self.server.headers.append({"path": self.path, **dict(self.headers)})
        if act is not None:
            return act(self)
        if "frames" not in self.server.reads and b"frames_b64" in body:
            return self.say(422, b'{"error_type": "InvalidRequest", "error": "frames_b64: extra"}')
        return self.say(200, json.dumps(self.server.answer(request, tensors)).encode())

    def say(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


def read_binary(body: bytes) -> tuple[dict, dict[str, np.ndarray]]:
    """The request and the tensors of a binary body, as the package safetensors reads them."""
    tensors = load(body)
    with tempfile.NamedTemporaryFile() as file:
        file.write(body)
        file.flush()
        with safe_open(file.name, "np") as opened:
            request = json.loads(opened.metadata()["request"])
    assert {one["tensor"] for one in request["items"] if "tensor" in one} == set(tensors)
    assert all(tensor.dtype == np.uint8 for tensor in tensors.values())
    return request, tensors


def refuse(status: int, **headers: str) -> Act:
    return lambda handler: handler.say(status, b'{"detail": "not now"}', **headers)


def drop(handler: Handler) -> None:
    handler.close_connection = True
    handler.connection.close()


def cut_short(handler: Handler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"items": [')
    handler.close_connection = True


def say(answer: Any) -> Act:
    body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    return lambda handler: handler.say(200, body)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that the client would have waited."""
    found: list[float] = []
    real = exchange.RetryPolicy.wait

    def wait(*arguments: Any) -> float:
        found.append(real(*arguments))
        return 0.0

    monkeypatch.setattr(exchange.RetryPolicy, "wait", wait)
    return found


@pytest.fixture
def serve(tiny: LibreHPS) -> Iterator[Callable[..., StandIn]]:
    running = []

    def start(*acts: Act) -> StandIn:
        server = StandIn(tiny, list(acts))
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        running.append(server)
        return server

    yield start
    for server in running:
        server.shutdown()
        server.server_close()


@contextmanager
def nothing_listens() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        url = f"http://127.0.0.1:{server.server_port}"
    yield url


def items(media: list) -> list[Item]:
    return [Item(f"n{at}", one, PROMPT) for at, one in enumerate(media)]
