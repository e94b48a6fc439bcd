"""librehps serve: scores over HTTP."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from librehps_cli.ui.load import load_scorer
from librehps_cli.ui.options import ModelOptions, PromptOptions, Quiet, grouped
from librehps_cli.ui.output import Output

if TYPE_CHECKING:
    from librehps.serve.options import Access, Limits

ACCESS, LIMITS = "Access", "Limits"
# Of times: more than a day, and less than timers can hold.
LONGEST = 1_000_000


@dataclass(frozen=True)
class AccessFlags:
    """Where it listens, to whom, and which media requests may name."""

    host: Annotated[
        str,
        typer.Option(
            help="Address to listen on; any but this machine's own needs --token-file.",
            rich_help_panel=ACCESS,
        ),
    ] = "127.0.0.1"
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="0: any that is free.", rich_help_panel=ACCESS)
    ] = 8000
    token_file: Annotated[
        Path | None,
        typer.Option(
            help="Holds the token that every request but /health must bring.",
            show_default=False,
            rich_help_panel=ACCESS,
        ),
    ] = None
    allowed_host: Annotated[
        list[str] | None,
        typer.Option(
            help="A name that clients know this server by, for the Host header (default: names of "
            "this machine alone, so that others are refused, also with --host 0.0.0.0).",
            show_default=False,
            rich_help_panel=ACCESS,
        ),
    ] = None
    media_root: Annotated[
        list[Path] | None,
        typer.Option(
            help="A folder that paths in requests may lie in (default: no paths).",
            show_default=False,
            rich_help_panel=ACCESS,
        ),
    ] = None
    url_host: Annotated[
        list[str] | None,
        typer.Option(
            help="A public host, or HOST:PORT, that URLs in requests may name (default: no URLs).",
            show_default=False,
            rich_help_panel=ACCESS,
        ),
    ] = None


@dataclass(frozen=True)
class LimitFlags:
    """How much is taken in, and for how long."""

    max_items: Annotated[
        int, typer.Option(min=1, max=4096, help="Items of a request.", rich_help_panel=LIMITS)
    ] = 64
    max_queue: Annotated[
        int,
        typer.Option(
            min=1, help="Items of all requests; more are told to retry.", rich_help_panel=LIMITS
        ),
    ] = 256
    max_body_mb: Annotated[
        float,
        typer.Option(
            min=0.001, max=1 << 16, help="Size of a request, or of a file.", rich_help_panel=LIMITS
        ),
    ] = 64
    max_megapixels: Annotated[
        float,
        typer.Option(
            min=0.001,
            max=178,
            help="Of a picture, or a frame of a clip.",
            rich_help_panel=LIMITS,
        ),
    ] = 64
    max_wait_ms: Annotated[
        float,
        typer.Option(
            min=0,
            max=LONGEST,
            help="An item waits so long for others to share a batch.",
            rich_help_panel=LIMITS,
        ),
    ] = 10
    timeout_s: Annotated[
        float, typer.Option(min=0.01, max=LONGEST, help="For an answer.", rich_help_panel=LIMITS)
    ] = 60
    read_timeout_s: Annotated[
        float,
        typer.Option(
            min=0.01,
            max=LONGEST,
            help="For a request's header, and its body.",
            rich_help_panel=LIMITS,
        ),
    ] = 20
    drain_s: Annotated[
        float,
        typer.Option(
            min=0,
            max=LONGEST,
            help="For what was taken in, after SIGTERM or Ctrl-C.",
            rich_help_panel=LIMITS,
        ),
    ] = 30


@grouped
def serve(
    access: AccessFlags, limits: LimitFlags, models: ModelOptions, quiet: Quiet = False
) -> None:
    """Score over HTTP: POST /score and /compare; GET /health, /rewards, /metrics, /openapi.json.

    Clients share batches. After SIGTERM it takes no more requests and answers those it has.
    """
    from librehps.errors import ServeError
    from librehps.extras import require
    from librehps_cli.ui.errors import FATAL, report

    require("serve", "librehps serve")
    from librehps.serve.options import ServeOptions, listen

    out = Output(quiet, json=False)
    options = ServeOptions(access.host, access.port, _limits(limits), _access(access))
    # Before the model is loaded, which may take minutes.
    listener = listen(options)
    scorer = load_scorer(models, PromptOptions(), out)
    calibrator = scorer.calibrator(models.calibration)

    from librehps.serve.server import leave_at_once
    from librehps.serve.server import serve as run

    def tell(url: str) -> None:
        out.note(f"{scorer.settings.model} on {scorer.device} at {url}")
        if quiet and not access.port:
            # Nothing else tells which port it is.
            out.line(url)

    try:
        run(scorer, options, calibrator, tell, listener)
    except ServeError as error:
        report(error)
        leave_at_once(FATAL)


def _limits(flags: LimitFlags) -> "Limits":
    from librehps.serve.options import Limits

    return Limits(
        max_items=flags.max_items,
        max_queue=flags.max_queue,
        max_body=round(flags.max_body_mb * (1 << 20)),
        max_pixels=round(flags.max_megapixels * 1_000_000),
        max_wait=flags.max_wait_ms / 1000,
        timeout=flags.timeout_s,
        read_timeout=flags.read_timeout_s,
        drain=flags.drain_s,
    )


def _access(flags: AccessFlags) -> "Access":
    from librehps.serve.options import (
        LOOPBACK_NAMES,
        Access,
        media_root,
        named_host,
        read_token,
        url_host,
    )

    return Access(
        token=None if flags.token_file is None else read_token(flags.token_file),
        hosts=LOOPBACK_NAMES | {named_host(name) for name in flags.allowed_host or []},
        roots=tuple(media_root(folder) for folder in flags.media_root or []),
        url_hosts=frozenset(url_host(name) for name in flags.url_host or []),
    )
