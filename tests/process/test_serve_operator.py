"""Tests of what an operator uses: probes, allowed hosts, logs, ids of requests, metrics."""

import json
import re
import socket
import subprocess
import time
from collections.abc import Iterator

import pytest

import forks
from librehps.serve import logs
from librehps.serve.logs import log_request, start_record
from serve_client import SERVE, URL, Server, png_b64

TOKEN = "0123456789abcdef-operator"  # noqa: S105 - of these tests
ITEM = {"prompt": "a secret prompt", "image_b64": png_b64()}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    file = tmp_path_factory.mktemp("token") / "token"
    file.write_text(TOKEN)
    file.chmod(0o600)
    running = Server.start(
        "--token-file", file, "--allowed-host", "10.0.0.0/8", "--allowed-host", "fd00::/8",
        "--allowed-host", "*.scores.example", "--open-metrics", "--log-format", "json",
    )  # fmt: skip
    yield running
    assert running.stop() == 0


def lines(server: Server, id: str) -> list[dict]:
    """The log's lines with this id of a request."""
    while not (found := [json.loads(line) for line in server.said if id in line]):
        time.sleep(0.01)
    return found


@pytest.mark.parametrize(
    ("host", "is_allowed"),
    [
        ("10.1.2.3:8000", True), ("[fd12::1]:80", True), ("a.scores.example", True),
        ("a.b.scores.example:8000", True), ("[::ffff:10.0.0.1]", True), ("11.0.0.1", False),
        ("scores.example", False), (".scores.example", False), ("xscores.example", False),
        ("10.0.0.1.evil.example", False), ("[fe80::1]", False), ("a.scores.example.evil", False),
        ("[::1].evil.example", False), ("[::1", False), ("a/b.scores.example", False),
        ("*.scores.example", False), ("10.0.0.0/8", False), ("[fd00:0:0::1]", True),
        ("[fd00::1%eth0]:80", True), ("localhost, evil.example", False),
    ],
)  # fmt: skip
def test_allowed_hosts(server: Server, host: str, is_allowed: bool) -> None:
    assert server.get("/health", Host=host).status == (200 if is_allowed else 421)


def test_probes_and_scrapers_need_no_host_and_no_token(server: Server) -> None:
    for path in ("/livez", "/readyz", "/metrics"):
        assert server.get(path, Host="192.0.2.1:8000").status not in (401, 421)
    assert server.get("/rewards", Host="192.0.2.1:8000").status == 421
    assert server.get("/rewards").status == 401


def test_a_log_line_for_each_request(server: Server) -> None:
    allowed = {"Authorization": f"Bearer {TOKEN}"}
    answer = server.post("/score?key=hidden", {"items": [ITEM, ITEM]}, X_Request_ID="a-1:x",
                         **allowed)  # fmt: skip
    assert answer.status == 200 and answer.header("X-Request-ID") == "a-1:x"
    [line] = lines(server, "a-1:x")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"])
    expected = {"level": "info", "method": "POST", "path": "/score", "status": 200, "items": 2,
                "client": "127.0.0.1", "request_id": "a-1:x"}  # fmt: skip
    assert expected.items() <= line.items()
    assert line["ms"] > 0 and line["bytes_in"] > 2 * len(ITEM["image_b64"])

    answer = server.post("/score", {"items": 3}, X_Request_ID="a-2", **allowed)
    [line] = lines(server, "a-2")
    assert (line["status"], line["error_type"]) == (422, "InvalidRequest")
    assert line["reason"] == answer.json["error"]
    assert line["level"] == "warning"
    said = "".join(server.said)
    for secret in (TOKEN, "hidden", "secret prompt", ITEM["image_b64"][:40]):
        assert secret not in said
    assert all(json.loads(each) for each in server.said)


@pytest.mark.parametrize("given", [None, "", "x" * 129, "a b", 'a"b', "é"])
def test_ids_are_made_where_they_are_missing_or_invalid(server: Server, given: str | None) -> None:
    headers = {} if given is None else {"X-Request-ID": given}
    made = server.get("/health", **headers).header("X-Request-ID")
    assert made is not None and re.fullmatch("[0-9a-f]{16}", made)


def test_head_is_answered_as_get_without_a_body(server: Server) -> None:
    for path in ("/health", "/metrics"):
        answer = server.ask("HEAD", path)
        assert (answer.status, answer[1]) == (200, b"")
        assert int(answer.header("Content-Length")) > 0
    assert server.ask("HEAD", "/score", Authorization=f"Bearer {TOKEN}").status == 405


def test_two_lengths_close_the_connection(server: Server) -> None:
    """Else a proxy and the server could see different requests (smuggling)."""
    head = "POST /score HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    lengths = "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as link:
        link.sendall((head + lengths + "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").encode())
        answer = b"".join(iter(lambda: link.recv(1 << 16), b"")).decode()
    assert answer.startswith("HTTP/1.1 400") and answer.count("HTTP/1.1") == 1
    assert "connection: close" in answer.lower()


def test_metrics_for_an_operator(server: Server) -> None:
    server.post("/score", {"items": [ITEM]}, Authorization=f"Bearer {TOKEN}")
    server.post("/score", {"items": [ITEM]})
    text = server.get("/metrics")[1].decode()
    for name in ("queue_wait_seconds_count", "decode_seconds_count", "decode_wait_seconds_count",
                 "batch_seconds_count",
                 'request_bytes_count{path="/score"}', "requests_in_flight",
                 'refusals_total{reason="Unauthorized"}'):  # fmt: skip
        assert f"librehps_{name}" in text
    assert 'librehps_build_info{model="LibreHPS-Tiny",settings="' in text
    assert "process_resident_memory_bytes" in text


def test_a_reader_of_stderr_that_is_stuck_stops_no_request() -> None:
    """A pipe holds 64 kB: more lines would block the server if requests wrote them."""
    command = [*forks.librehps(), *SERVE, "--log-level", "debug"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        server = Server(process)
        server.port = next(int(found[2]) for line in process.stderr if (found := URL.search(line)))
        for _ in range(400):
            assert server.get("/x" * 100).status == 404
        server.terminate()
        # The end does not wait for the reader either.
        assert process.wait(60) == 0
        assert process.stderr.read().count("GET") < 400


@pytest.mark.parametrize(
    ("reason", "logged"),
    [
        ("https://me:word@host/a.png?sig=1: not found", "https://...: not found"),
        ("https://me:w@rd@host/a.png?b=' c@d: gone", "https://...: gone"),
        ("b: https://me:w/r?d@host/a.png", "b: https://..."),
        ("b: https://host/a?x: y: gone", "b: https://host/a?...: gone"),
        ("https://host/a.png#key", "https://host/a.png#..."),
        ("a.png: not found", "a.png: not found"),
    ],
)
def test_secrets_in_urls_and_new_lines_are_not_logged(
    reason: str, logged: str, caplog: pytest.LogCaptureFixture
) -> None:
    scope = {"method": "GET", "path": "/a\nb", "client": None}
    record = start_record(scope, b"id")
    record.status, record.error_type, record.reason = 422, "MediaError", reason
    logs.log.addHandler(caplog.handler)
    log_request(scope, record, is_monitoring=False)
    logs.log.removeHandler(caplog.handler)
    fields = caplog.records[0].fields
    assert fields["path"] == "/a\\nb"
    assert fields["reason"] == logged
