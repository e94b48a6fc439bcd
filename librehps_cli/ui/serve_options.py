"""Flags of `serve`, each also given by an environment variable LIBREHPS_SERVE_<FLAG>."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from librehps.choices import LogFormat, LogLevel

if TYPE_CHECKING:
    from librehps.serve.options import Access, Limits

VARIABLES = "LIBREHPS_SERVE"
ACCESS, LIMITS, LOGS = "Access", "Limits", "Logs"
# More than a day in ms or s, and less than timers can hold.
MAX_TIME = 1_000_000


@dataclass(frozen=True)
class AccessFlags:
    """Flags that set the server's address and name, its clients, and the media of requests."""

    host: Annotated[
        str,
        typer.Option(
            metavar="HOST",
            help="Address to listen on; any but 127.0.0.1 and ::1 needs --token-file.",
            rich_help_panel=ACCESS,
        ),
    ] = "127.0.0.1"
    port: Annotated[
        int,
        typer.Option(
            metavar="PORT",
            min=0,
            max=65535,
            help="Port to listen on; 0: any free port.",
            rich_help_panel=ACCESS,
        ),
    ] = 8000
    reward_name: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Name of the reward in GET /rewards and in `required_rewards`.",
            rich_help_panel=ACCESS,
        ),
    ] = "librehps"
    token_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="File with the token that every request must send, except for /livez, /readyz "
            "and /health.",
            show_default=False,
            rich_help_panel=ACCESS,
        ),
    ] = None
    allowed_host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Accept requests with this Host header: a name, *.suffix, or the network of "
            "addresses (10.0.0.0/8). Default: only the loopback names, also with --host 0.0.0.0. "
            "Repeatable.",
            show_default=False,
            rich_help_panel=ACCESS,
        ),
    ] = None
    open_metrics: Annotated[
        bool,
        typer.Option(
            "--open-metrics",
            help="Answer GET /metrics without a token, whatever the Host header is.",
            rich_help_panel=ACCESS,
        ),
    ] = False
    media_root: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FOLDER",
            help="Accept paths in this folder from requests (default: no paths). Repeatable.",
            show_default=False,
            rich_help_panel=ACCESS,
        ),
    ] = None
    url_host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="HOST[:PORT]",
            help="Accept URLs of this public host from requests (default: no URLs). Repeatable.",
            show_default=False,
            rich_help_panel=ACCESS,
        ),
    ] = None


@dataclass(frozen=True)
class LogFlags:
    """Flags that set the format of the logs on stderr, and how much they say."""

    log_format: Annotated[
        LogFormat,
        typer.Option(
            metavar="FORMAT",
            help="Lines on stderr: text, json.",
            # Known before other flags are invalid, whose errors have this format too.
            is_eager=True,
            rich_help_panel=LOGS,
        ),
    ] = "text"
    log_level: Annotated[
        LogLevel,
        typer.Option(
            metavar="LEVEL",
            help="Least level of the logs: debug (also probes), info (each request), warning "
            "(requests with errors), error.",
            rich_help_panel=LOGS,
        ),
    ] = "info"


@dataclass(frozen=True)
class LimitFlags:
    """Flags that limit the size of requests and the time for them."""

    max_items: Annotated[
        int,
        typer.Option(
            metavar="N", min=1, max=4096, help="Most items of a request.", rich_help_panel=LIMITS
        ),
    ] = 4096
    max_queue: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=1,
            help="Most items accepted at a time; further requests wait until their timeout.",
            rich_help_panel=LIMITS,
        ),
    ] = 16_384
    max_body_mb: Annotated[
        float,
        typer.Option(
            metavar="MB",
            min=0.001,
            max=1 << 16,
            help="Largest request body, or fetched file.",
            rich_help_panel=LIMITS,
        ),
    ] = 128
    max_megapixels: Annotated[
        float,
        typer.Option(
            metavar="NUMBER",
            min=0.001,
            max=178,
            help="Largest image, or frame of a video.",
            rich_help_panel=LIMITS,
        ),
    ] = 17
    decode_memory_mb: Annotated[
        float | None,
        typer.Option(
            metavar="MB",
            min=64,
            max=1 << 24,
            help="Memory for decoding, of all requests (default: a quarter of the free memory).",
            show_default=False,
            rich_help_panel=LIMITS,
        ),
    ] = None
    max_wait_ms: Annotated[
        float,
        typer.Option(
            metavar="MS",
            min=0,
            max=MAX_TIME,
            help="Longest wait of an item for others to share its batch.",
            rich_help_panel=LIMITS,
        ),
    ] = 10
    timeout_s: Annotated[
        float,
        typer.Option(
            metavar="S",
            min=0.01,
            max=MAX_TIME,
            help="Timeout of a response, from the end of the request.",
            rich_help_panel=LIMITS,
        ),
    ] = 300
    read_timeout_s: Annotated[
        float,
        typer.Option(
            metavar="S",
            min=0.01,
            max=MAX_TIME,
            help="Timeout for reading a request's header, and for its body.",
            rich_help_panel=LIMITS,
        ),
    ] = 20
    drain_s: Annotated[
        float,
        typer.Option(
            metavar="S",
            min=0,
            max=MAX_TIME,
            help="Time to finish accepted requests after SIGTERM, SIGHUP or Ctrl-C.",
            rich_help_panel=LIMITS,
        ),
    ] = 30
    device_timeout_s: Annotated[
        float,
        typer.Option(
            metavar="S",
            min=1,
            max=MAX_TIME,
            help="Time until the server ends, with exit code 1, after its device failed or hangs.",
            rich_help_panel=LIMITS,
        ),
    ] = 60


def limits_of(flags: LimitFlags) -> "Limits":
    from librehps.serve.options import Limits

    memory_mb = flags.decode_memory_mb
    return Limits(
        max_items=flags.max_items,
        max_queue=flags.max_queue,
        max_body=round(flags.max_body_mb * (1 << 20)),
        max_pixels=round(flags.max_megapixels * 1_000_000),
        decode_memory=None if memory_mb is None else round(memory_mb * (1 << 20)),
        max_wait=flags.max_wait_ms / 1000,
        timeout=flags.timeout_s,
        read_timeout=flags.read_timeout_s,
        drain=flags.drain_s,
        device_timeout=flags.device_timeout_s,
    )


def access_of(flags: AccessFlags) -> "Access":
    from librehps.serve.options import (
        LOOPBACK_NAMES,
        Access,
        allowed_host,
        media_root,
        read_token,
        url_host,
    )

    return Access(
        token=None if flags.token_file is None else read_token(flags.token_file),
        hosts=LOOPBACK_NAMES | {allowed_host(name) for name in flags.allowed_host or []},
        roots=tuple(media_root(folder) for folder in flags.media_root or []),
        url_hosts=frozenset(url_host(name) for name in flags.url_host or []),
        open_metrics=flags.open_metrics,
    )
