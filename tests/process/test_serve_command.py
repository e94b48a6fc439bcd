"""librehps serve, the command: what it says when it listens, and how it ends."""

import re
import signal
import subprocess
from pathlib import Path

import forks
from serve_client import Server, png_b64


def test_a_quiet_server_tells_a_port_that_it_chose() -> None:
    command = [*forks.librehps(), "serve", "--model", "tiny", "--port", "0", "-q"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+\n", process.stdout.readline())
        process.terminate()


def test_ctrl_c_ends_it() -> None:
    server = Server.start("--drain-s", "5")
    with server.socket():
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(20) == 0
    assert "Traceback" not in "".join(server.said)


def test_a_drain_that_takes_too_long(tmp_path: Path) -> None:
    server = Server.start("--drain-s", "0.5", "--read-timeout-s", "3600")
    with server.socket() as link:
        body = f'{{"items": [{{"prompt": "x", "image_b64": "{png_b64()}"}}]}}'.encode()
        link.sendall(b"POST /score HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json"
                     b"\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n"
                     % len(body))  # fmt: skip
        link.sendall(body[:50])
        # The server says so once it waits for the body.
        assert b"100 Continue" in link.recv(1000)
        server.terminate()
        assert server.process.wait() == 1
    assert "server stopped before all requests were answered" in server.all_said()
