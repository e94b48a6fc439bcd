"""The server rejects bad sizes, names, paths and floods, and stays healthy."""

import base64
import contextlib
import json
import re
import select
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from librehps.errors import UsageError
from librehps.serve.connections import MAX_CONNECTIONS
from librehps.serve.options import Access, ServeOptions, is_loopback
from make_media import picture, png
from serve_client import Server, file_b64, png_b64

TOKEN = "a-token-of-some-length"  # noqa: S105 - of this test alone
GOOD = {"items": [{"prompt": "x", "image_b64": png_b64()}]}
EMPTY = "librehps_queue_items 0.0"
HEADER = "POST /score HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("places")
    (base / "root").mkdir()
    (base / "root-too").mkdir()
    for place in ("root/in.png", "out.png", "root-too/out.png"):
        picture().save(base / place)
    (base / "root" / "link.png").symlink_to(base / "out.png")
    (base / "root" / "away").symlink_to(base)
    (base / "root" / "round").symlink_to("round")
    (base / "root" / "fine.png").symlink_to("in.png")
    return base


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    running = Server.start("--media-root", folder / "root", "--read-timeout-s", "1.5",
                           "--max-body-mb", "4", "--max-items", "3")  # fmt: skip
    yield running
    assert running.get("/health").json["status"] == "ready"
    assert running.stop() == 0


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    file = tmp_path_factory.mktemp("token") / "token"
    file.write_text(f"{TOKEN}\n")
    # An address that others can reach, as it is with a token alone.
    running = Server.start("--host", "0.0.0.0", "--token-file", file,  # noqa: S104
                           "--allowed-host", "Scores.example")  # fmt: skip
    yield running
    assert running.stop() == 0


def basic(text: str) -> str:
    return f"Basic {base64.b64encode(text.encode()).decode()}"


@pytest.mark.parametrize("given", [None, "", "Bearer", "Bearer wrong", f"Basic {TOKEN}", TOKEN,
                                   f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", basic(f"{TOKEN}:x"),
                                   basic(TOKEN), basic(f"x:{TOKEN}x"), "Basic =="])  # fmt: skip
def test_without_the_token(guarded: Server, given: str | None) -> None:
    headers = {} if given is None else {"Authorization": given}
    for path in ("/rewards", "/metrics", "/openapi.json", "/nothing"):
        answer = guarded.get(path, **headers)
        assert answer.status == 401 and answer.json["error_type"] == "Unauthorized"
        assert answer.header("WWW-Authenticate") == "Bearer"
    assert guarded.post("/score", GOOD, **headers).status == 401
    assert guarded.get("/health", **headers).status == 200


def test_with_the_token(guarded: Server) -> None:
    for given in (f"Bearer {TOKEN}", f"bearer {TOKEN}", basic(f"any:{TOKEN}"), basic(f":{TOKEN}")):
        assert guarded.post("/score", GOOD, Authorization=given).status == 200
    assert guarded.get("/metrics", Authorization=f"Bearer {TOKEN}").status == 200


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "10.0.0.1:8000", "",
                                  "127.0.0.1.evil.example", "[::2]:80",
                                  "evil.example:80"])  # fmt: skip
def test_a_foreign_host(server: Server, host: str) -> None:
    for path in ("/health", "/metrics"):
        answer = server.get(path, Host=host)
        assert answer.status == 421 and answer.json["error_type"] == "ForeignHost"


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:8000", "[::1]:9"])
def test_hosts_of_this_machine(server: Server, host: str) -> None:
    assert server.get("/health", Host=host).status == 200


def test_a_host_that_was_named(guarded: Server) -> None:
    assert guarded.get("/health", Host="scores.example:443").status == 200
    assert guarded.get("/health", Host="scores.example.").status == 200


@pytest.mark.parametrize("path", [
    "../out.png", "link.png", "away/out.png", "away/absent.png", "/etc/passwd", "/etc/absent",
    "../root-too/out.png", "round", "a\0b", "x" * 5000, "", "away/root/../out.png", "~/x",
    "{base}/out.png", "{base}/root-too/out.png", "file:///etc/passwd",
])  # fmt: skip
def test_paths_outside_the_root(server: Server, folder: Path, path: str) -> None:
    path = path.replace("{base}", str(folder))
    item = server.post("/score", {"items": [{"prompt": "x", "path": path}]}).json["items"][0]
    assert item["status"] == "error" and f"{folder / 'root'}/" not in item["error"]
    if path not in ("x" * 5000, "", "~/x", "file:///etc/passwd"):
        assert item["error_type"] == "MediaRefusedError"
        assert (
            item["error"]
            == f"{path}: path not allowed (expected a path in the server's --media-root)"
        )


def test_links_within_the_root(server: Server) -> None:
    items = [{"prompt": "x", "path": path} for path in ("fine.png", "away/root/in.png")]
    found = server.post("/score", {"items": items}).json["items"]
    assert [item["status"] for item in found] == ["ok", "ok"]


def test_without_roots_or_hosts_nothing_is_read(guarded: Server, folder: Path) -> None:
    places = [{"path": str(folder / "out.png")}, {"url": "http://example.com/a.png"}]
    body = {"items": [{"prompt": "x", **place} for place in places]}
    answer = guarded.post("/score", body, Authorization=f"Bearer {TOKEN}").json
    assert [item["error_type"] for item in answer["items"]] == ["MediaRefusedError"] * 2


def test_a_picture_that_is_a_bomb(server: Server, tmp_path: Path) -> None:
    bomb = file_b64(png(tmp_path / "bomb.png", 20_000, 20_000))
    before = server.memory()
    body = {"items": [{"prompt": "x", "image_b64": bomb}, *GOOD["items"]]}
    found = server.post("/score", body).json["items"]
    assert [item["error_type"] for item in found] == ["DecompressionBombError", None]
    assert server.memory() - before < 100e6


def test_too_many_items(server: Server) -> None:
    answer = server.post("/score", {"items": GOOD["items"] * 4})
    assert (answer.status, answer.json["error_type"]) == (422, "TooManyItems")


def test_bodies_of_other_types(server: Server) -> None:
    for headers in ({"Content_Type": "text/plain"}, {"Content_Encoding": "gzip"},
                    {"Content_Type": "application/x-www-form-urlencoded"}):  # fmt: skip
        assert server.post("/score", b"{}", **headers).status == 415


def test_a_body_that_says_it_is_too_large(server: Server) -> None:
    with server.socket() as link:
        link.sendall(f"{HEADER}Content-Length: {1 << 30}\r\n\r\n".encode())
        assert status_of(link) == 413


def test_large_bodies_where_none_is_expected(server: Server) -> None:
    # Some of these paths need no token.
    for path in ("/livez", "/readyz", "/health", "/rewards", "/nothing"):
        answer = server.ask("POST", path, b" " * (65 << 10))
        assert (answer.status, answer.json["error_type"]) == (413, "BodyTooLarge")


def test_a_gigabyte_in_chunks(server: Server) -> None:
    before = most = server.memory()
    sent, block = 0, b"x" * (1 << 20)
    with server.socket() as link:
        link.sendall(f"{HEADER}Transfer-Encoding: chunked\r\n\r\n".encode())
        answer = b""
        with contextlib.suppress(ConnectionError):
            while sent < 1 << 30:
                link.sendall(b"%x\r\n%s\r\n" % (len(block), block))
                sent += len(block)
                if sent % (16 << 20) == 0:
                    most = max(most, server.memory())
                if select.select([link], [], [], 0)[0]:
                    answer += link.recv(1 << 16)
                    if b"}" in answer and sent > 64 << 20:
                        break
    assert answer.startswith(b"HTTP/1.1 413") and b"BodyTooLarge" in answer
    assert b"connection: close" in answer.lower()
    assert sent > 4 << 20 and most - before < 60e6
    assert server.get("/health").status == 200


def test_a_body_longer_than_it_says(server: Server) -> None:
    with server.socket() as link:
        link.sendall(f"{HEADER}Content-Length: 2\r\n\r\n{{}}{'x' * 100_000}".encode())
        assert status_of(link) in (400, 422)
    assert server.get("/health").status == 200


@pytest.mark.parametrize("sent", [
    b"\0\r\n\r\n", b"GET /health\r\n\r\n", b"\x16\x03\x01" + b"x" * 512,
    f"{HEADER}Content-Length: 1\r\nContent-Length: 2\r\n\r\n".encode(),
    f"{HEADER}Content-Length: -1\r\n\r\n".encode(),
])  # fmt: skip
def test_invalid_http_has_the_answer_of_every_error(server: Server, sent: bytes) -> None:
    with server.socket() as link:
        link.sendall(sent)
        answer = b"".join(iter(lambda: link.recv(1 << 16), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ") and b"application/json" in head
    assert json.loads(body) == {"error_type": "InvalidHttp", "error": "invalid HTTP request"}


def trickle(link: socket.socket) -> None:
    """Send a byte now and then, until the server cuts the link; nothing else ends it."""
    while not select.select([link], [], [], 0.2)[0]:
        try:
            link.sendall(b"a")
        except ConnectionError:
            return


def test_a_header_that_trickles(server: Server) -> None:
    with server.socket() as link:
        link.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
        trickle(link)


def test_a_connection_that_says_nothing(server: Server) -> None:
    with server.socket() as link, contextlib.suppress(ConnectionError):
        assert link.recv(1) == b""


def test_a_second_header_that_trickles(server: Server) -> None:
    with server.socket() as link:
        link.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\nGET /hea")
        assert status_of(link) == 200
        trickle(link)


def test_a_body_that_trickles(server: Server) -> None:
    with server.socket() as link:
        link.sendall(f"{HEADER}Content-Length: 1000\r\n\r\n{{".encode())
        trickle(link)
        assert status_of(link) == 408


@pytest.mark.timeout(100)
def test_slow_clients_keep_nobody_waiting() -> None:
    # Whoever waited for the slow ones would wait for an hour.
    server = Server.start("--read-timeout-s", 3600)
    # The server has room for fewer: those that say nothing are closed first.
    slow = [server.socket() for _ in range(MAX_CONNECTIONS + 50)]
    for link in slow[-50:]:
        link.sendall(f"{HEADER}Content-Length: 1000\r\n\r\n{{".encode())
    assert server.post("/score", GOOD).status == 200
    with contextlib.suppress(ConnectionError):
        assert slow[0].recv(1) == b""
    assert not select.select(slow[-50:], [], [], 0)[0]
    for link in slow:
        link.close()
    assert server.stop() == 0


def test_a_client_that_leaves_frees_its_place(server: Server) -> None:
    body = str(GOOD).replace("'", '"').encode()
    ends = re.compile(r'librehps_requests_total{path="/score",status="(?:200|499)"} (\d+)')
    before = sum(map(int, ends.findall(server.get("/metrics")[1].decode())))
    for sent in (body[:-9], *[body] * 20):
        with server.socket() as link:
            link.sendall(f"{HEADER}Content-Length: {len(body)}\r\n\r\n".encode() + sent)
    while EMPTY not in (told := server.get("/metrics")[1].decode()) or (
        sum(map(int, ends.findall(told))) < before + 21
    ):
        pass
    assert 'status="499"' in told and 'status="500"' not in told
    assert "never retrieved" not in "".join(server.said)


def test_addresses_that_others_reach_need_a_token() -> None:
    for host in ("0.0.0.0", "::", "192.168.1.2", "example.com", ""):  # noqa: S104
        assert not is_loopback(host)
        with pytest.raises(UsageError, match="token"):
            ServeOptions(host=host)
        assert ServeOptions(host=host, access=Access(token=TOKEN)).host == host
    for host in ("127.0.0.1", "127.9.9.9", "::1", "localhost"):
        assert ServeOptions(host=host).host == host


def status_of(link: socket.socket) -> int:
    return int(link.recv(1 << 16).split()[1])
