"""A server as a real process, and a client that costs little and can misbehave."""

import asyncio
import base64
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import threading
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import psutil
from PIL import Image

import forks
from make_media import picture

SERVE = ("serve", "--model", "tiny", "--device", "cpu", "--port", "0")
RUNNER = Path(__file__).with_name("serve_runner.py")
URL = re.compile(r"at http://([\d.]+):(\d+)")


@dataclass
class Server:
    """`librehps serve` on a free port; `said` is its stderr so far."""

    process: subprocess.Popen[str]
    said: list[str] = field(default_factory=list)
    port: int = 0
    listener: threading.Thread | None = None

    def all_said(self) -> str:
        """Everything that was said on stderr, once the process has ended."""
        assert self.listener is not None
        self.listener.join()
        return "".join(self.said)

    @classmethod
    def start(cls, *arguments: object, command: tuple[str, ...] = ()) -> "Server":
        python = forks.python()
        command = command or (*python, str(RUNNER), json.dumps(python), *SERVE)
        process = subprocess.Popen(
            [*command, *map(str, arguments)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "HF_HUB_OFFLINE": "1"},
        )
        server, ready = cls(process), threading.Event()
        server.listener = threading.Thread(target=server._listen, args=[ready], daemon=True)
        server.listener.start()
        assert ready.wait(120) and server.port, server.said
        server._wait()
        return server

    def _listen(self, ready: threading.Event) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.said.append(line)
            if found := URL.search(line):
                self.port = int(found[2])
                ready.set()
        ready.set()

    def _wait(self) -> None:
        # The socket listens before the app has started, so this waits for it.
        assert self.get("/health")[0] == 200

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> "Answer":
        """The answer; `body` is sent as JSON unless it is bytes."""
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        names = {k.replace("_", "-"): v for k, v in headers.items()}
        if data is not None:
            names = {"Content-Type": "application/json", **names}
        try:
            link.request(method, path, data, names)
            response = link.getresponse()
            return Answer(response.status, response.read(), dict(response.getheaders()))
        finally:
            link.close()

    def get(self, path: str, **headers: str) -> "Answer":
        return self.ask("GET", path, **headers)

    def post(self, path: str, body: Any, **headers: str) -> "Answer":
        return self.ask("POST", path, body, **headers)

    def pid(self) -> int:
        """The process that listens."""
        listeners = (c for c in psutil.net_connections("tcp") if c.status == psutil.CONN_LISTEN)
        return next(c.pid for c in listeners if c.laddr.port == self.port)

    def memory(self) -> int:
        """Bytes that the process which listens holds."""
        return psutil.Process(self.pid()).memory_info().rss

    def socket(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=60)

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def stop(self) -> int:
        """End it; gives its exit code."""
        if self.process.poll() is None:
            self.terminate()
        try:
            return self.process.wait(60)
        finally:
            self.process.kill()


class Answer(tuple):
    """(status, body, headers)."""

    def __new__(cls, status: int, body: bytes, headers: dict[str, str]) -> "Answer":
        return super().__new__(cls, (status, body, headers))

    @property
    def status(self) -> int:
        return self[0]

    @property
    def json(self) -> Any:
        return json.loads(self[1], parse_constant=_no_constant)

    def header(self, name: str) -> str | None:
        return next((v for k, v in self[2].items() if k.lower() == name.lower()), None)


def _no_constant(name: str) -> None:
    raise AssertionError(f"{name} in JSON")


def png_b64(seed: int = 0, width: int = 64, height: int = 48) -> str:
    return encoded(picture(width, height, seed))


def encoded(image: Image.Image, format: str = "PNG") -> str:
    file = BytesIO()
    image.save(file, format)
    return base64.b64encode(file.getvalue()).decode()


def file_b64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


class Link:
    """A kept connection of an asyncio client, reopened if the server closed it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post(
        self, path: str, body: bytes, type: str = "application/json"
    ) -> tuple[int, bytes]:
        head = (
            f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {type}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port, limit=1 << 22)
        reader, writer = self._streams
        writer.write(head.encode())
        writer.write(body)
        head_back = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(re.search(r"content-length: (\d+)", head_back)[1])
        answer = await reader.readexactly(length)
        if "connection: close" in head_back:
            await self.close()
        return int(head_back.split()[1]), answer

    async def close(self) -> None:
        if self._streams is not None:
            self._streams[1].transport.abort()
            self._streams = None
