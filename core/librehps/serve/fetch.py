"""Fetch media from URLs: only from allowed hosts, and never from private networks."""

import http.client
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from urllib.parse import SplitResult, quote, urljoin, urlsplit

from librehps.errors import EmptyFileError, MediaError, MediaRefusedError

REDIRECT_STATUSES = (301, 302, 303, 307, 308)
MAX_REDIRECTS = 3
BLOCK_BYTES = 1 << 16
# Longer names are cut in errors.
MAX_NAME_CHARS = 200
DEFAULT_PORTS = {"http": 80, "https": 443}
# Characters kept as they are in a path or query; a % is taken as already quoted.
UNQUOTED_CHARS = "/%:@!$&'()*+,;=~-._?"
# IPv6 addresses that reach the IPv4 address in their last four bytes (RFC 6052).
NAT64_NETWORK = ipaddress.ip_network("64:ff9b::/96")
# Networks that are not public, and that some versions of Python count as global: of 6to4 relays
# (RFC 7526), of documentation (RFC 9637), of local NAT64 (RFC 8215), of dummy addresses (RFC 9780),
# of segment routing (RFC 9602), and of protocols (RFC 2928, RFC 6890).
SPECIAL_NETWORKS = tuple(
    ipaddress.ip_network(network)
    for network in (
        "192.88.99.0/24", "192.0.0.0/24", "3fff::/20", "64:ff9b:1::/48", "100:0:0:1::/64",
        "5f00::/16", "2001::/23",
    )
)  # fmt: skip

# Returns the addresses of a host and port; raises OSError.
Resolve = Callable[[str, int], list[str]]
# Returns a connection to (address, port), with a timeout in seconds; raises OSError.
Connect = Callable[[tuple[str, int], float], socket.socket]


def shortened(name: str) -> str:
    """Return the client's name for its media, cut to a length that fits in errors."""
    if len(name) > MAX_NAME_CHARS:
        return f"{name[:MAX_NAME_CHARS]}…"
    return name or "''"


def resolve(host: str, port: int) -> list[str]:
    """Return every address of the host; raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


def is_public(address: str) -> bool:
    """Return True for a public internet address, also if embedded in an IPv6 address."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    if any(ip in network for network in SPECIAL_NETWORKS):
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour
        if ip in NAT64_NETWORK:
            inner = ipaddress.IPv4Address(ip.packed[-4:])
        if ip.teredo is not None or ip.is_site_local:
            return False
        if inner is not None:
            return is_public(str(inner))
    # is_global is also true for multicast, reserved and unspecified addresses.
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or ip.is_unspecified)


@dataclass(frozen=True)
class Fetcher:
    """A downloader for URLs on `hosts` (a name, or name:port for other ports than the default).

    A download has at most `max_bytes` and takes at most `timeout` seconds a hop. At most three
    redirects are followed, each checked like the first URL. The connection goes to the address
    that was checked.
    """

    hosts: frozenset[str]
    max_bytes: int
    timeout: float = 10.0
    resolve: Resolve = resolve
    connect: Connect = socket.create_connection

    def fetch(self, url: str) -> bytes:
        """Return the content, never empty; raises MediaError."""
        target = url
        for _ in range(MAX_REDIRECTS + 1):
            try:
                content, target = self._hop(target)
            except (OSError, http.client.HTTPException, ValueError) as error:
                raise MediaError(
                    f"cannot fetch {shortened(url)}: {type(error).__name__}"
                ) from error
            if content is not None:
                if not content:
                    raise EmptyFileError(f"{shortened(url)}: empty file (zero bytes)")
                return content
        raise MediaError(f"{shortened(url)}: too many redirects (at most {MAX_REDIRECTS})")

    def _hop(self, url: str) -> tuple[bytes | None, str]:
        """Return (content, url), or (None, next url) for a redirect."""
        parts = self._checked(url)
        host, port = _host_of(parts), parts.port or DEFAULT_PORTS[parts.scheme]
        with closing(self._open(url, parts.scheme, host, port)) as link:
            # The socket timeout holds for one read only; this timer limits the whole download.
            late = threading.Event()
            timer = threading.Timer(self.timeout, _cut, [link, late])
            timer.daemon = True
            timer.start()
            try:
                answer = self._exchange(url, parts, link)
            finally:
                timer.cancel()
        # A connection that the timer closed may look like the end of the content.
        if late.is_set():
            raise TimeoutError
        return answer

    def _exchange(
        self, url: str, parts: SplitResult, link: socket.socket
    ) -> tuple[bytes | None, str]:
        connection = http.client.HTTPConnection(parts.netloc, timeout=self.timeout)
        connection.sock = link
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        headers = {"Accept-Encoding": "identity", "User-Agent": "librehps", "Connection": "close"}
        connection.request("GET", quote(target, safe=UNQUOTED_CHARS), headers=headers)
        answer = connection.getresponse()
        if answer.status in REDIRECT_STATUSES:
            return None, urljoin(url, answer.getheader("Location") or url)
        if answer.status != 200:
            raise MediaError(f"cannot fetch {shortened(url)}: HTTP status {answer.status}")
        return self._content(url, answer), url

    def _content(self, url: str, answer: http.client.HTTPResponse) -> bytes:
        content = bytearray()
        while block := answer.read(min(BLOCK_BYTES, self.max_bytes + 1 - len(content))):
            content += block
            if len(content) > self.max_bytes:
                raise MediaError(
                    f"{shortened(url)}: file too large (at most {self.max_bytes} bytes)"
                )
        if answer.length:
            raise MediaError(f"{shortened(url)}: download is {answer.length} bytes short")
        return bytes(content)

    def _checked(self, url: str) -> SplitResult:
        """Return the parts of a URL with an allowed host; raises MediaRefusedError, ValueError."""
        parts = urlsplit(url)
        host = _host_of(parts)
        if parts.scheme not in DEFAULT_PORTS or not host or parts.username or parts.password:
            raise MediaRefusedError("invalid URL: expected http:// or https://, a host and a path")
        port = parts.port or DEFAULT_PORTS[parts.scheme]
        usual = port == DEFAULT_PORTS[parts.scheme]
        if f"{host}:{port}" not in self.hosts and not (usual and host in self.hosts):
            raise MediaRefusedError(
                f"host not allowed: {shortened(host)}:{port} (the server's --url-host)"
            )
        return parts

    def _open(self, url: str, scheme: str, host: str, port: int) -> socket.socket:
        addresses = self.resolve(host, port)
        if not addresses or not all(map(is_public, addresses)):
            raise MediaRefusedError(f"{shortened(url)}: the host's address is not public")
        link = self.connect((addresses[0], port), self.timeout)
        link.settimeout(self.timeout)
        if scheme == "http":
            return link
        try:
            return ssl.create_default_context().wrap_socket(link, server_hostname=host)
        except OSError:
            link.close()
            raise


def _host_of(parts: SplitResult) -> str:
    return (parts.hostname or "").rstrip(".")


def _cut(link: socket.socket, late: threading.Event) -> None:
    late.set()
    try:
        # The plain socket's method: that of a TLS socket would disturb the reading thread.
        socket.socket.shutdown(link, socket.SHUT_RDWR)
    except OSError:
        # The connection is already closed.
        return
