"""URLs in requests: allowed hosts, public addresses, redirects, sizes and times."""

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

import pytest

from librehps.errors import EmptyFileError, MediaError, MediaRefusedError
from librehps.serve.fetch import Fetcher, is_public

PUBLIC = "93.184.215.14"


class Site(BaseHTTPRequestHandler):
    """Answers by path."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        name, _, value = unquote(self.path.partition("?")[0]).strip("/").partition("/")
        if name == "to":
            self.send_response(302)
            self.send_header("Location", value.replace("|", "/"))
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if name == "status":
            self.send_error(int(value))
            return
        if name == "slow":
            self.send_response(200)
            self.end_headers()
            # Until the client has left: nothing but its own deadline ends this.
            with suppress(OSError):
                while not threading.Event().wait(0.1):
                    self.wfile.write(b"x")
            return
        size = int(value or 4)
        self.send_response(200)
        if name == "bytes":
            self.send_header("Content-Length", str(size))
        if name == "short":
            self.send_header("Content-Length", str(size + 9))
        self.end_headers()
        self.wfile.write(b"x" * size)
        self.close_connection = True

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture(scope="module")
def site() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Site)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()


class Net:
    """Names and addresses of a made-up network, all of whose hosts are the test's own site."""

    def __init__(self, port: int, names: dict[str, list[str]]) -> None:
        self.port, self.names = port, names
        self.connected: list[tuple[str, int]] = []

    def resolve(self, host: str, port: int) -> list[str]:
        if host not in self.names:
            raise socket.gaierror("no such host")
        return self.names[host]

    def connect(self, address: tuple[str, int], timeout: float) -> socket.socket:
        self.connected.append(address)
        return socket.create_connection(("127.0.0.1", self.port), timeout)


def fetcher(net: Net, *hosts: str, timeout: float = 5, most: int = 1000) -> Fetcher:
    return Fetcher(frozenset(hosts), most, timeout, net.resolve, net.connect)


@pytest.fixture
def net(site: int) -> Net:
    return Net(site, {
        "cdn.example": [PUBLIC], "other.example": ["1.1.1.1"], "inner.example": ["10.0.0.7"],
        "mixed.example": [PUBLIC, "127.0.0.1"], "meta.example": ["169.254.169.254"],
        "six.example": ["::ffff:127.0.0.1"], "none.example": [],
    })  # fmt: skip


def test_a_picture_of_an_allowed_host(net: Net) -> None:
    get = fetcher(net, "cdn.example", "other.example:8080").fetch
    assert get("http://cdn.example/bytes/5") == b"xxxxx"
    assert get("http://CDN.example./stream/6?a=b%20c d") == b"x" * 6
    assert get("http://other.example:8080/bytes/1") == b"x"
    assert net.connected == [(PUBLIC, 80), (PUBLIC, 80), ("1.1.1.1", 8080)]


@pytest.mark.parametrize("url", [
    "http://other.example/", "http://cdn.example.other.example/", "http://cdn.example:8080/",
    "http://cdn.example@other.example/", "http://user:word@cdn.example/", "ftp://cdn.example/",
    "file:///etc/passwd", "cdn.example/a", "", "http://", "http://127.0.0.1/", "http://[::1]/",
    "http://other.example#@cdn.example/", "http://other.example\\@cdn.example/", "gopher://x",
])  # fmt: skip
def test_hosts_that_were_not_allowed(net: Net, url: str) -> None:
    with pytest.raises(MediaRefusedError):
        fetcher(net, "cdn.example").fetch(url)
    assert not net.connected


@pytest.mark.parametrize("host", ["inner.example", "mixed.example", "meta.example", "six.example",
                                  "none.example"])  # fmt: skip
def test_addresses_that_are_not_public(net: Net, host: str) -> None:
    with pytest.raises(MediaRefusedError, match="not public"):
        fetcher(net, host).fetch(f"http://{host}/bytes/4")
    assert not net.connected


def test_the_address_is_asked_for_once(net: Net) -> None:
    answers = iter([[PUBLIC], ["127.0.0.1"]])
    get = Fetcher(frozenset({"cdn.example"}), 99, 5, lambda host, port: next(answers), net.connect)
    assert get.fetch("http://cdn.example/bytes/3") == b"xxx"
    assert net.connected == [(PUBLIC, 80)]
    with pytest.raises(MediaRefusedError):
        get.fetch("http://cdn.example/bytes/3")


def test_redirects(net: Net) -> None:
    get = fetcher(net, "cdn.example", "other.example", "inner.example").fetch
    assert get("http://cdn.example/to/http:||other.example|bytes|7") == b"x" * 7
    assert net.connected == [(PUBLIC, 80), ("1.1.1.1", 80)]
    assert get("http://cdn.example/to/|bytes|2") == b"xx"


@pytest.mark.parametrize("target", [
    "http:||inner.example|bytes|7", "http:||127.0.0.1|bytes|7", "http:||evil.example|", "file:||x",
    "http:||cdn.example:22|", "ftp:||cdn.example|x",
])  # fmt: skip
def test_redirects_to_where_nothing_is_read(net: Net, target: str) -> None:
    with pytest.raises(MediaRefusedError):
        fetcher(net, "cdn.example", "inner.example").fetch(f"http://cdn.example/to/{target}")
    assert net.connected == [(PUBLIC, 80)]


def test_redirects_without_end(net: Net) -> None:
    with pytest.raises(MediaError, match="too many redirects"):
        fetcher(net, "cdn.example").fetch("http://cdn.example/to/")
    assert len(net.connected) == 4


@pytest.mark.parametrize("path", ["bytes/1001", "stream/1001", "stream/5000000"])
def test_what_is_too_large(net: Net, path: str) -> None:
    with pytest.raises(MediaError, match="at most 1000"):
        fetcher(net, "cdn.example").fetch(f"http://cdn.example/{path}")
    assert len(fetcher(net, "cdn.example").fetch("http://cdn.example/stream/1000")) == 1000


def test_what_comes_byte_by_byte(net: Net) -> None:
    with pytest.raises(MediaError):
        fetcher(net, "cdn.example", timeout=0.5).fetch("http://cdn.example/slow")


def test_answers_that_hold_no_picture(net: Net) -> None:
    get = fetcher(net, "cdn.example", "gone.example").fetch
    with pytest.raises(MediaError, match="status 404"):
        get("http://cdn.example/status/404")
    with pytest.raises(EmptyFileError):
        get("http://cdn.example/bytes/0")
    with pytest.raises(MediaError, match=r"cannot fetch http|\d+ bytes short"):
        get("http://cdn.example/short/5")
    with pytest.raises(MediaError, match="cannot fetch"):
        get("http://gone.example/a")
    with pytest.raises(MediaError, match="cannot fetch"):
        get("https://cdn.example/not-tls")


@pytest.mark.parametrize("address", [
    "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.0.1", "169.254.169.254",
    "100.64.0.1", "192.0.0.1", "192.0.2.1", "198.18.0.1", "224.0.0.1", "239.1.1.1", "240.0.0.1",
    "255.255.255.255", "::1", "::", "fe80::1", "fc00::1", "fd00::1", "ff02::1", "2001:db8::1",
    "::ffff:10.0.0.1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "2002:a00:1::",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2", "fec0::1", "fe80::1%eth0", "64:ff9b:1::1",
    "::127.0.0.1", "0.0.0.0",  # noqa: S104
    "192.88.99.1", "3fff::1", "3fff:fff::1", "5f00::1", "100:0:0:1::1", "2001:20::1", "192.0.0.9",
    "nonsense", "",
])  # fmt: skip
def test_private_addresses(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", PUBLIC, "2606:4700::1111", "::ffff:8.8.8.8",
                                     "64:ff9b::808:808"])  # fmt: skip
def test_public_addresses(address: str) -> None:
    assert is_public(address)
