"""A hub on loopback that holds the repositories it is given.

A fake, since the real hub is out of reach; the client and what lands on disk are real.
"""

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"
Repos = Mapping[str, Mapping[str, bytes]]
# (status, X-Error-Code, X-Error-Message) by what a path must contain.
Refusals = Mapping[str, tuple[int, str, str]]


class Handler(BaseHTTPRequestHandler):
    """The part of the hub's protocol that its client uses."""

    repos: Repos
    refusals: Refusals
    paths: list[str]

    def answer(self) -> bytes:
        path = self.path.split("?")[0]
        self.paths.append(path)
        for part, refusal in self.refusals.items():
            # The head of a file is answered: a download fails in its body.
            if part in path and (self.command == "GET" or "/api/" in path):
                return self.refuse(*refusal)
        for repo, files in self.repos.items():
            if path.startswith(f"/api/models/{repo}"):
                record = _tree(files) if "/tree/" in path else _info(repo, files)
                return self.send(json.dumps(record).encode(), "application/json")
            name = path.rsplit("/", 1)[-1]
            if path.startswith(f"/{repo}/resolve/") and name in files:
                return self.send(files[name], "application/octet-stream")
        return self.refuse(404, "RepoNotFound", "Repository not found")

    def refuse(self, status: int, code: str, message: str) -> bytes:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("X-Error-Message", message)
        self.send_header("Content-Length", "0")
        self.end_headers()
        return b""

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


def _info(repo: str, files: Mapping[str, bytes]) -> dict[str, object]:
    siblings = [{"rfilename": name} for name in files]
    return {"id": repo, "modelId": repo, "sha": COMMIT, "siblings": siblings}


def _tree(files: Mapping[str, bytes]) -> list[dict[str, object]]:
    return [
        {"type": "file", "path": n, "size": len(b), "oid": hashlib.sha1(b).hexdigest()}
        for n, b in files.items()
    ]


@contextmanager
def fake_hub(
    repos: Repos, home: Path, refusals: Refusals | None = None
) -> Iterator[tuple[dict[str, str], list[str]]]:
    """Give (environment of a process that knows this hub alone, paths it was asked for)."""
    fields = {"repos": repos, "refusals": refusals or {}, "paths": []}
    handler = type("Handler", (Handler,), fields)
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield (
        {
            "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
            "HF_HUB_OFFLINE": "0",
            "HF_HOME": str(home),
            "HF_HUB_DISABLE_TELEMETRY": "1",
        },
        handler.paths,
    )
    server.shutdown()
    server.server_close()
