"""The server of the page: address, token and end."""

import secrets
import socket
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import FrameType

import uvicorn

from librehps.judge.app import READ_TIMEOUT_S, Page, make_app
from librehps.serve.connections import configure
from librehps.serve.options import WILDCARD_HOSTS, Access, ServeOptions


@dataclass(frozen=True)
class Place:
    """The address of the page; port 0 is any free port.

    `token` is the secret part of the address (default: a new one), `hosts` are names under which
    browsers reach the page if `host` is not of this machine alone.
    """

    host: str = "127.0.0.1"
    port: int = 0
    token: str | None = None
    hosts: frozenset[str] = frozenset()

    def options(self) -> ServeOptions:
        """Return the options of the server, with a token."""
        access = Access(token=self.token or secrets.token_urlsafe(16))
        hosts = access.hosts | self.hosts
        if self.host not in WILDCARD_HOSTS:
            hosts |= {self.host.lower()}
        return ServeOptions(self.host, self.port, access=replace(access, hosts=hosts))


class EndingServer(uvicorn.Server):
    """A server that ends at a signal without raising it again: the caller has more to say."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.force_exit = self.should_exit
        self.should_exit = True


def address_of(listener: socket.socket, options: ServeOptions) -> str:
    """Return the address of the page, with its token."""
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{port}/{options.access.token}/"


def run(
    page: Page, options: ServeOptions, listener: socket.socket, ready: Callable[[str], None]
) -> None:
    """Serve the page until a signal; `ready` receives its address once the socket is open."""
    server = EndingServer(configure(make_app(page, options.access), READ_TIMEOUT_S))
    ready(address_of(listener, options))
    server.run([listener])
