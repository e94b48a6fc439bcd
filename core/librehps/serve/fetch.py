"""Media behind a URL, from hosts that were allowed and nothing that lies inside a network."""

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

REDIRECTS = (301, 302, 303, 307, 308)
MOST_REDIRECTS = 3
BLOCK = 1 << 16
# Of what a client calls its media, in errors.
LONGEST_NAME = 200
PORTS = {"http": 80, "https": 443}
# Characters that stand in a path or a query as they are; a % is taken to be quoted already.
KEPT = "/%:@!$&'()*+,;=~-._?"
# IPv6 addresses that reach the IPv4 address in their last four bytes (RFC 6052).
NAT64 = ipaddress.ip_network("64:ff9b::/96")
# The anycast address of 6to4 relays (RFC 7526), which counts as global.
RELAYS = ipaddress.ip_network("192.88.99.0/24")

# Gives the addresses of a host and port; raises OSError.
Resolve = Callable[[str, int], list[str]]
# Gives a connection to (address, port) within so many seconds; raises OSError.
Connect = Callable[[tuple[str, int], float], socket.socket]


def shortened(name: str) -> str:
    """What a client calls its media, as errors say it."""
    if len(name) > LONGEST_NAME:
        return f"{name[:LONGEST_NAME]}…"
    return name or "''"


def resolve(host: str, port: int) -> list[str]:
    """Every address of the host; raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


def is_public(address: str) -> bool:
    """Whether the address lies on the open internet, also where it hides in another one."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    if ip in RELAYS:
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour
        if ip in NAT64:
            inner = ipaddress.IPv4Address(ip.packed[-4:])
        if ip.teredo is not None or ip.is_site_local:
            return False
        if inner is not None:
            return is_public(str(inner))
    # Multicast and its like count as global.
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or ip.is_unspecified)


@dataclass(frozen=True)
class Fetcher:
    """Fetches from `hosts` (a name, or name:port where the port is not the usual one).

    At most `max_bytes`, within `timeout` seconds a hop; at most three redirects, each checked as
    the first URL is. The address that is connected to is the one that was checked.
    """

    hosts: frozenset[str]
    max_bytes: int
    timeout: float = 10.0
    resolve: Resolve = resolve
    connect: Connect = socket.create_connection

    def fetch(self, url: str) -> bytes:
        """The content, never empty; raises MediaError."""
        target = url
        for _ in range(MOST_REDIRECTS + 1):
            try:
                content, target = self._hop(target)
            except (OSError, http.client.HTTPException, ValueError) as error:
                raise MediaError(
                    f"{shortened(url)} cannot be fetched: {type(error).__name__}"
                ) from error
            if content is not None:
                if not content:
                    raise EmptyFileError(f"{shortened(url)} is empty (zero bytes)")
                return content
        raise MediaError(f"{shortened(url)} redirects more than {MOST_REDIRECTS} times")

    def _hop(self, url: str) -> tuple[bytes | None, str]:
        """The content; or None and the URL to go on to."""
        parts = self._checked(url)
        host, port = _host_of(parts), parts.port or PORTS[parts.scheme]
        with closing(self._open(url, parts.scheme, host, port)) as link:
            # Each read has its timeout; this one is for the whole, which could come byte by byte.
            late = threading.Event()
            timer = threading.Timer(self.timeout, _cut, [link, late])
            timer.daemon = True
            timer.start()
            try:
                answer = self._exchange(url, parts, link)
            finally:
                timer.cancel()
        # To the reader, a link that was cut may look like the end of the content.
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
        connection.request("GET", quote(target, safe=KEPT), headers=headers)
        answer = connection.getresponse()
        if answer.status in REDIRECTS:
            return None, urljoin(url, answer.getheader("Location") or url)
        if answer.status != 200:
            raise MediaError(f"{shortened(url)} answers with status {answer.status}")
        return self._content(url, answer), url

    def _content(self, url: str, answer: http.client.HTTPResponse) -> bytes:
        content = bytearray()
        while block := answer.read(min(BLOCK, self.max_bytes + 1 - len(content))):
            content += block
            if len(content) > self.max_bytes:
                raise MediaError(f"{shortened(url)} is larger than {self.max_bytes} bytes")
        if answer.length:
            raise MediaError(f"{shortened(url)} ends {answer.length} bytes early")
        return bytes(content)

    def _checked(self, url: str) -> SplitResult:
        """The parts of a URL whose host is allowed; raises MediaRefusedError, ValueError."""
        parts = urlsplit(url)
        host = _host_of(parts)
        if parts.scheme not in PORTS or not host or parts.username or parts.password:
            raise MediaRefusedError("a URL is http:// or https://, a host and a path")
        port = parts.port or PORTS[parts.scheme]
        usual = port == PORTS[parts.scheme]
        if f"{host}:{port}" not in self.hosts and not (usual and host in self.hosts):
            raise MediaRefusedError(f"this server fetches nothing from {shortened(host)}:{port}")
        return parts

    def _open(self, url: str, scheme: str, host: str, port: int) -> socket.socket:
        addresses = self.resolve(host, port)
        if not addresses or not all(map(is_public, addresses)):
            raise MediaRefusedError(f"{shortened(url)}: its host has an address that is not public")
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
        # The plain one, also of TLS: its own would touch what another thread is reading with.
        socket.socket.shutdown(link, socket.SHUT_RDWR)
    except OSError:
        # It ended by itself.
        return
