"""Checkpoints of a hub: none is fetched unasked, and once fetched they stay."""

import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from conftest import CHECKPOINT, Cli
from librehps.settings import DEFAULT_MODEL

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REPO = "somebody/golden"


class Hub(BaseHTTPRequestHandler):
    """As much of the hub's protocol as its client asks of it, on loopback, with one model.

    A fake, since the real hub is out of reach; the client and what lands on disk are real.
    """

    paths: list[str]
    files = {f.name: f.read_bytes() for f in CHECKPOINT.iterdir()} | {"pytorch_model.bin": b"no"}

    def answer(self) -> bytes:
        self.paths.append(self.path.split("?")[0])
        path = self.paths[-1]
        if path.startswith(f"/api/models/{REPO}"):
            if "/tree/" in path:
                return self.send(json.dumps(self.tree()).encode(), "application/json")
            files = [{"rfilename": name} for name in self.files]
            info = {"id": REPO, "modelId": REPO, "sha": COMMIT, "siblings": files}
            return self.send(json.dumps(info).encode(), "application/json")
        name = path.rsplit("/", 1)[-1]
        if path.startswith(f"/{REPO}/resolve/") and name in self.files:
            return self.send(self.files[name], "application/octet-stream")
        self.send_response(404)
        self.send_header("X-Error-Code", "RepoNotFound")
        self.send_header("Content-Length", "0")
        self.end_headers()
        return b""

    def tree(self) -> list[dict[str, object]]:
        return [
            {"type": "file", "path": n, "size": len(b), "oid": hashlib.sha1(b).hexdigest()}
            for n, b in self.files.items()
        ]

    def send(self, body: bytes, kind: str) -> bytes:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()}"')
        self.end_headers()
        return body

    def do_GET(self) -> None:
        self.wfile.write(self.answer())

    def do_HEAD(self) -> None:
        self.answer()

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[tuple[dict[str, str], list[str]]]:
    """(environment of a process that knows this hub alone, paths it was asked for)."""
    handler = type("Handler", (Hub,), {"paths": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield (
        {
            "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
            "HF_HUB_OFFLINE": "0",
            "HF_HOME": str(tmp_path / "hf"),
            "HF_HUB_DISABLE_TELEMETRY": "1",
        },
        handler.paths,
    )
    server.shutdown()


def test_a_download_needs_consent(process: Cli, hub: tuple[dict[str, str], list[str]]) -> None:
    environment, paths = hub
    done = process("info", **environment)
    assert done.returncode == 2
    assert DEFAULT_MODEL in done.stderr
    assert "20.7 GB" in done.stderr
    assert "--download" in done.stderr
    assert paths == []


def test_download_then_cache(process: Cli, hub: tuple[dict[str, str], list[str]]) -> None:
    environment, paths = hub
    refused = process("info", "--model", REPO, **environment)
    assert (refused.returncode, paths) == (2, [])
    done = process("info", "--model", REPO, "--download", "--json", **environment)
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert record["model"]["value"] == REPO
    assert not any(path.endswith(".bin") for path in paths)
    paths.clear()
    again = process("info", "--model", REPO, "--json", **environment)
    assert json.loads(again.stdout) == record
    assert paths == []
    other = process("info", "--model", "somebody/else", "--download", **environment)
    assert other.returncode == 1
    assert "the hub has no somebody/else" in other.stderr


def test_a_torn_cache_is_no_model(process: Cli, hub: tuple[dict[str, str], list[str]]) -> None:
    environment, _ = hub
    assert process("info", "--model", REPO, "--download", **environment).returncode == 0
    shard = next(Path(environment["HF_HOME"]).rglob("model-00002-of-00004.safetensors"))
    shard.unlink()
    refused = process("info", "--model", REPO, **environment)
    assert refused.returncode == 2
    assert process("info", "--model", REPO, "--download", **environment).returncode == 0
