"""librehps serve: a server of scores over HTTP."""

import logging
from typing import TYPE_CHECKING

import typer

from librehps_cli.ui.environment import from_environment, name_variables, unknown_variables
from librehps_cli.ui.errors import FATAL, exit_code_of, report_json
from librehps_cli.ui.help import examples
from librehps_cli.ui.load import load_scorer
from librehps_cli.ui.options import ModelOptions, PromptOptions, Quiet, grouped
from librehps_cli.ui.output import Output
from librehps_cli.ui.serve_options import (
    VARIABLES,
    AccessFlags,
    LimitFlags,
    LogFlags,
    access_of,
    limits_of,
)

if TYPE_CHECKING:
    from librehps.serve.log_writer import LogWriter

log = logging.getLogger("librehps")


class LoggedOutput(Output):
    """The output of the server, whose notes are lines of its log."""

    def note(self, message: str) -> None:
        """Log a line, unless --quiet."""
        log.info(message)


@examples(
    "librehps serve -m tiny",
    "librehps serve -m tiny --port 8001 --media-root examples/media",
)
@from_environment(VARIABLES)
@grouped
def serve(
    context: typer.Context,
    access: AccessFlags,
    limits: LimitFlags,
    logs: LogFlags,
    models: ModelOptions,
    quiet: Quiet = False,
) -> None:
    """Serve scores over HTTP: POST /score and /compare.

    GET /livez, /readyz, /health, /rewards, /metrics and /openapi.json are served too. Items of
    several clients share a batch. After SIGTERM, SIGHUP or Ctrl-C the server finishes the accepted
    requests, then stops.

    Every flag can be an environment variable: LIBREHPS_SERVE_MAX_ITEMS=64 is --max-items 64. In the
    variable of a repeatable flag, spaces or commas separate the values.
    """
    from librehps.errors import LibreHPSError
    from librehps.serve.logs import start_logs

    # First, since an Output takes the library's log lines for itself.
    out = LoggedOutput(quiet, json=False)
    writer = start_logs(logs.log_format, "error" if quiet else logs.log_level)
    for name in unknown_variables(serve, VARIABLES):
        log.warning("unknown variable %s ignored: no flag has this name", name)
    try:
        _serve(access, limits, models, writer, out)
    except LibreHPSError as error:
        writer.flush()
        error.args = (name_variables(context, VARIABLES, str(error)),)
        if logs.log_format == "text":
            raise
        report_json(str(error), error.hint)
        raise typer.Exit(exit_code_of(error)) from error
    finally:
        writer.flush()


def _serve(
    access: AccessFlags,
    limits: LimitFlags,
    models: ModelOptions,
    writer: "LogWriter",
    out: LoggedOutput,
) -> None:
    from librehps.errors import ServeError
    from librehps.extras import require

    require("serve", "librehps serve")
    from librehps.serve.options import ServeOptions, reserve

    options = ServeOptions(
        access.host, access.port, limits_of(limits), access_of(access), access.reward_name
    )
    # The port is checked before the model is loaded, which may take minutes.
    listener = reserve(options)
    scorer = load_scorer(models, PromptOptions(), out, serves=True)
    calibrator = scorer.calibrator(models.calibration)

    from librehps.serve.logs import error_record
    from librehps.serve.server import leave_at_once
    from librehps.serve.server import serve as run

    devices = ", ".join(map(str, scorer.devices))

    def print_url(url: str) -> None:
        out.note(f"{scorer.settings.model} on {devices} at {url}")
        if out.quiet and not access.port:
            # With port 0 this line is the only place that names the port.
            out.line(url)

    try:
        run(scorer, options, calibrator, print_url, listener)
    except ServeError as error:
        # A line of the log: to print would wait for a stuck reader of stderr.
        log.handle(error_record(str(error), error.hint))
        writer.flush()
        leave_at_once(FATAL)
