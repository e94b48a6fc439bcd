"""The server's options: address, limits, token, allowed hosts and media sources."""

import errno
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

# Addresses to listen on all interfaces, never found in a Host header.
WILDCARD_HOSTS = ("0.0.0.0", "::")  # noqa: S104 - compared with, not bound to
# The reward of a server without --reward-name.
DEFAULT_REWARD_NAME = "librehps"
_REWARD_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:@+-]{0,99}")
_NAME = re.compile(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?")
NAME_HINT = "Give a name like scores.example: no scheme, no path, no *, no port."
URL_HINT = "Give a name like scores.example or scores.example:8080: no scheme, no path, no *."
RULE_HINT = "Give scores.example, *.scores.example, 10.0.0.0/8 or fd00::/8: no scheme, no port."
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True)
class Limits:
    """The limits of a server; times in seconds, `max_body` in bytes.

    `max_items`: items of one request; `max_queue`: items accepted and not answered yet, beyond
    which requests wait; `max_wait`: time that a decoded item waits for a full batch; `max_pixels`:
    pixels of an image or a video frame; `decode_memory`: bytes for decoding and for decoded items
    (None: a quarter of the free memory); `timeout`: time of a request, waiting included;
    `read_timeout`: time to receive a header, or a slow body; `drain`: time that shutdown waits for
    active requests; `device_timeout`: time until the server ends after its device failed or hangs.
    """

    max_items: int = 4096
    max_queue: int = 16_384
    max_body: int = 128 << 20
    max_pixels: int = 17_000_000
    decode_memory: int | None = None
    max_wait: float = 0.010
    timeout: float = 300.0
    read_timeout: float = 20.0
    drain: float = 30.0
    device_timeout: float = 60.0

    def __post_init__(self) -> None:
        if self.max_items > self.max_queue:
            raise UsageError(
                f"--max-items {self.max_items} is larger than --max-queue {self.max_queue}",
                hint="Raise --max-queue or lower --max-items.",
            )


@dataclass(frozen=True)
class Access:
    """The access rules: the token, and the media that a request may name.

    `token` None: no token is needed; `hosts`: allowed in a Host header, as names, networks or
    `*.suffix`; `roots`: folders, with links resolved, that files may be read from; `url_hosts`:
    allowed hosts of URLs; `open_metrics`: the metrics need no token and no Host.
    """

    token: str | None = None
    hosts: frozenset[str] = LOOPBACK_NAMES
    roots: tuple[Path, ...] = ()
    url_hosts: frozenset[str] = frozenset()
    open_metrics: bool = False


@dataclass(frozen=True)
class ServeOptions:
    """The address that a server listens on (port 0: any free port), its limits and access rules.

    `reward_name` is the name of its reward. Raises UsageError if other machines can reach the
    address and there is no token, or if the name is invalid.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    limits: Limits = field(default_factory=Limits)
    access: Access = field(default_factory=Access)
    reward_name: str = DEFAULT_REWARD_NAME

    def __post_init__(self) -> None:
        if not _REWARD_NAME.fullmatch(self.reward_name):
            raise UsageError(
                f"--reward-name: invalid name {self.reward_name!r} "
                "(expected up to 100 letters, digits and _.:@+-)"
            )
        if self.access.token is None and not is_loopback(self.host):
            raise UsageError(
                f"--host {self.host}: token required: other machines can reach this address",
                hint="Give --token-file, or leave --host at 127.0.0.1.",
            )


def is_loopback(host: str) -> bool:
    """Return True if only this machine can reach the address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def allowed_host(text: str) -> str:
    """Return a rule for Host headers, normalised: a name, a network or `*.suffix`.

    Raises UsageError if invalid.
    """
    rule = text.strip().lower()
    if "/" in rule:
        try:
            return str(ipaddress.ip_network(rule))
        except ValueError as error:
            raise UsageError(
                f"--allowed-host: invalid network {text!r}: {error}",
                hint=RULE_HINT,
            ) from error
    suffix = rule.removeprefix("*.")
    name = named_host(suffix, hint=RULE_HINT)
    if suffix == rule:
        return name
    if _is_address(name):
        raise UsageError(
            f"--allowed-host: invalid suffix {text!r}: an address",
            hint="Give a network like 10.0.0.0/8 instead.",
        )
    return f"*.{name}"


def named_host(text: str, flag: str = "--allowed-host", hint: str = NAME_HINT) -> str:
    """Return the host name, normalised as in a Host header; raises UsageError if invalid."""
    name = text.strip().lower().rstrip(".")
    if name.startswith("[") and name.endswith("]"):
        name = name[1:-1]
    if not _NAME.fullmatch(name) and not _is_address(name):
        raise UsageError(f"{flag}: invalid host name {text!r}", hint=hint)
    return name


def url_host(text: str) -> str:
    """Return a host or host:port of URLs, normalised; raises UsageError if invalid."""
    host, colon, port = text.strip().rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535 or _is_address(text.strip()):
        return named_host(text, "--url-host", URL_HINT)
    return f"{named_host(host, '--url-host', URL_HINT)}:{int(port)}"


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def reserve(options: ServeOptions) -> socket.socket:
    """Return a socket bound to the options' address, which refuses connections until it listens.

    Raises UsageError.
    """
    host, port = options.host, options.port
    if host in WILDCARD_HOSTS and options.access.hosts <= LOOPBACK_NAMES:
        log.warning(
            "warning: --host %s without --allowed-host refuses requests from other machines", host
        )
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family)
        try:
            if os.name == "posix":
                bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            bound.bind(address[:2])
        except OSError:
            bound.close()
            raise
        return bound
    except OSError as error:
        hint = "Use another --port." if error.errno == errno.EADDRINUSE else None
        raise UsageError(f"cannot listen on {host}:{port}: {error.strerror}", hint) from error


def listen(options: ServeOptions) -> socket.socket:
    """Return a socket that listens on the options' address; raises UsageError."""
    listener = reserve(options)
    listener.listen(1024)
    return listener


def read_token(file: Path) -> str:
    """Return the token in a file, without surrounding whitespace; raises UsageError."""
    try:
        token = file.read_text(encoding="ascii").strip()
        mode = file.stat().st_mode
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read token file {file}: {error}") from error
    if len(token) < 16 or not token.isprintable() or " " in token:
        raise UsageError(
            f"{file}: invalid token (expected one word of at least 16 ASCII characters)",
            hint="Make one with: openssl rand -hex 32 > token",
        )
    if mode & (stat.S_IRWXG | stat.S_IRWXO) and os.name == "posix":
        log.warning(
            "warning: other users can read or change the token file %s (mode %03o); "
            "make it private to the server's user: chmod 600",
            file,
            stat.S_IMODE(mode),
        )
    return token


def media_root(folder: Path) -> Path:
    """Return the folder with its links resolved; raises UsageError if not found."""
    if not folder.is_dir():
        raise UsageError(f"--media-root: folder not found: {folder}")
    return folder.resolve()
