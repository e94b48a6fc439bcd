"""What a server allows: how much, how long, to whom, and from where."""

import ipaddress
import logging
import os
import re
import socket
import stat
from dataclasses import dataclass, field
from pathlib import Path

from librehps.errors import UsageError

log = logging.getLogger("librehps")

# Addresses that stand for all of this machine, which no client calls it by.
ANY = ("0.0.0.0", "::")  # noqa: S104 - compared with, not bound to
_NAME = re.compile(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?")
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True)
class Limits:
    """Bounds of what is taken in; times in seconds, `max_body` in bytes.

    `max_items` of one request, `max_queue` of all that are not answered yet; `max_wait` that a
    decoded item waits for others; `max_pixels` of a picture, or of a clip's frame; `timeout` of a
    request, `read_timeout` of its header and of a body that trickles, `drain` of the end.
    """

    max_items: int = 64
    max_queue: int = 256
    max_body: int = 64 << 20
    max_pixels: int = 64_000_000
    max_wait: float = 0.010
    timeout: float = 60.0
    read_timeout: float = 20.0
    drain: float = 30.0

    def __post_init__(self) -> None:
        if self.max_items > self.max_queue:
            raise UsageError(
                f"{self.max_items} items a request do not fit a queue of {self.max_queue}",
                hint="Raise --max-queue or lower --max-items.",
            )


@dataclass(frozen=True)
class Access:
    """Who may ask, and which media a request may name.

    `token` None asks for none; `hosts` are the names that a Host header may have; `roots` are
    folders, with links resolved, that paths may lie in; `url_hosts` the hosts of URLs.
    """

    token: str | None = None
    hosts: frozenset[str] = LOOPBACK_NAMES
    roots: tuple[Path, ...] = ()
    url_hosts: frozenset[str] = frozenset()


@dataclass(frozen=True)
class ServeOptions:
    """Where a server listens (port 0: any that is free), and what it allows.

    Raises UsageError for an address that others can reach, without a token.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    limits: Limits = field(default_factory=Limits)
    access: Access = field(default_factory=Access)

    def __post_init__(self) -> None:
        if self.access.token is None and not is_loopback(self.host):
            raise UsageError(
                f"{self.host} can be reached from other machines: a token is needed",
                hint="Give --token-file, or leave --host at 127.0.0.1.",
            )


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def named_host(text: str, flag: str = "--allowed-host") -> str:
    """The host as a Host header or a URL has it; raises UsageError for what none can have."""
    name = text.strip().lower().rstrip(".")
    if name.startswith("[") and name.endswith("]"):
        name = name[1:-1]
    if not _NAME.fullmatch(name) and not _is_address(name):
        raise UsageError(
            f"{flag} {text}: this is no name of a host",
            hint="Give the name as in scores.example: no scheme, no path, no *"
            + (", no port." if flag == "--allowed-host" else ", and a port as in :8080 at most."),
        )
    return name


def url_host(text: str) -> str:
    """A host, or host:port, of URLs; raises UsageError."""
    host, colon, port = text.strip().rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535 or _is_address(text.strip()):
        return named_host(text, "--url-host")
    return f"{named_host(host, '--url-host')}:{int(port)}"


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def listen(options: ServeOptions) -> socket.socket:
    """A socket that listens there; raises UsageError."""
    host, port = options.host, options.port
    if host in ANY and options.access.hosts <= LOOPBACK_NAMES:
        log.warning("warning: at %s without --allowed-host, other machines are refused", host)
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family, backlog=1024)
    except OSError as error:
        raise UsageError(f"cannot listen on {host}:{port}: {error.strerror}") from error


def read_token(file: Path) -> str:
    """The token in a file, without the space around it; raises UsageError."""
    try:
        token = file.read_text(encoding="ascii").strip()
        mode = file.stat().st_mode
    except (OSError, ValueError) as error:
        raise UsageError(f"the token file {file} cannot be read: {error}") from error
    if len(token) < 16 or not token.isprintable() or " " in token:
        raise UsageError(
            f"{file} holds no token: one word of 16 characters or more",
            hint="For example: openssl rand -hex 32 > token",
        )
    if mode & (stat.S_IRWXG | stat.S_IRWXO) and os.name == "posix":
        log.warning(
            "warning: others on this machine can read or change the token in %s (mode %03o): "
            "chmod 600, where the server's user owns it",
            file,
            stat.S_IMODE(mode),
        )
    return token


def media_root(folder: Path) -> Path:
    """The folder with its links resolved; raises UsageError where there is none."""
    if not folder.is_dir():
        raise UsageError(f"no such folder: {folder}")
    return folder.resolve()
