"""A local HTTP server with latency, failures, stalls and short answers, for tests."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# The longest that a stalled answer stays open.
STALL_S = 60.0


@dataclass
class WebServer:
    """A server of `files` by path (`/a.png`); each request is counted in `requests` by path.

    `latency` is the time in seconds before an answer. `fail(path, n)` returns how the n-th request
    (from 1) of a path goes wrong: None, a status, a (status, headers) pair, `stall` (never an
    answer), `stall body` (half of it), `short` (fewer bytes than promised), or `drop` (the
    connection is closed).
    """

    files: dict[str, bytes]
    latency: float = 0.0
    ranges: bool = True
    fail: Callable[[str, int], object] = lambda path, n: None
    requests: dict[str, int] = field(default_factory=dict)
    ranged: list[tuple[str, str]] = field(default_factory=list)
    # The first answers wait until so many requests are there at one time.
    together: int = 0
    most_at_once: int = 0
    url: str = ""
    over: threading.Event = field(default_factory=threading.Event)
    met: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)
    _now: int = 0

    @contextmanager
    def answering(self) -> Iterator[None]:
        with self.lock:
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
            if self.most_at_once >= self.together:
                self.met.set()
        self.met.wait(STALL_S)
        try:
            yield
        finally:
            with self.lock:
                self._now -= 1

    def count(self, path: str) -> int:
        with self.lock:
            self.requests[path] = self.requests.get(path, 0) + 1
            return self.requests[path]


def every_third(path: str, n: int, status: int = 503) -> object:
    """Fail the first try of about every third path."""
    return status if n == 1 and sum(path.encode()) % 3 == 0 else None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: "_Server"

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, body: bool) -> None:
        web, path = self.server.web, self.path.split("?")[0]
        with web.answering():
            if web.latency:
                time.sleep(web.latency)
            problem = web.fail(path, web.count(path))
            if problem == "stall":
                web.over.wait(STALL_S)
            if problem in ("stall", "drop"):
                self.close_connection = True
                return
            status, extra = problem if isinstance(problem, tuple) else (problem, {})
            if isinstance(status, int):
                self._send(status, b"refused", extra, body)
            elif path not in web.files:
                self._send(404, b"not here", {}, body)
            else:
                self._send_file(path, str(problem or ""), body)

    def _send_file(self, path: str, problem: str, body: bool) -> None:
        web, content = self.server.web, self.server.web.files[path]
        status, headers = 200, {"ETag": f'"{len(content)}-{hash(content)}"'}
        asked = self.headers.get("Range", "")
        if web.ranges:
            headers["Accept-Ranges"] = "bytes"
        if asked and web.ranges:
            web.ranged.append((path, asked))
            total = len(content)
            first, _, last = asked.removeprefix("bytes=").partition("-")
            start = int(first) if first else max(0, total - int(last))
            end = min(total, int(last) + 1) if first and last else total
            if start >= total:
                self._send(416, b"", {"Content-Range": f"bytes */{total}"}, body)
                return
            content, status = content[start:end], 206
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{total}"
        self._send(status, content, headers, body, problem)

    def _send(
        self, status: int, content: bytes, headers: Mapping[str, str], body: bool, problem: str = ""
    ) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if not body:
            return
        half = len(content) // 2
        self.wfile.write(content[:half] if problem else content)
        self.wfile.flush()
        if problem:
            if problem == "stall body":
                self.server.web.over.wait(STALL_S)
            self.close_connection = True


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256
    web: WebServer

    def handle_error(self, *_: object) -> None:
        # A client that gave up.
        pass


@contextmanager
def serving(files: dict[str, bytes], **options: object) -> Iterator[WebServer]:
    """Yield a running server of `files`."""
    web = WebServer(files, **options)  # type: ignore[arg-type]
    server = _Server(("127.0.0.1", 0), _Handler)
    server.web, web.url = web, f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield web
    finally:
        web.over.set()
        server.shutdown()
        server.server_close()
