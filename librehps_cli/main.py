"""The app: names and one-line helps of the commands, and the one error boundary."""

import sys
from typing import Annotated, Any

import typer

from librehps.errors import LibreHPSError
from librehps_cli.ui.lazy_commands import LazyCommand, LazyGroup, add_lazily

# Click's ClickException: Typer exports the class of the errors of one option alone.
COMMAND_LINE_ERRORS: Any = (typer.BadParameter.__mro__[2], typer.Abort)
HOME = "librehps_cli.commands"
COMMANDS = [
    LazyCommand("score", f"{HOME}.score:score", "Score images and videos against their prompts."),
    LazyCommand(
        "compare",
        f"{HOME}.compare:compare",
        "Compare images or videos of one prompt: two, several, or a file of pairs.",
    ),
    LazyCommand(
        "best-of-n",
        f"{HOME}.best_of_n:best_of_n",
        "Print the best item of each prompt, folder or column; --top K prints more.",
    ),
    LazyCommand(
        "filter",
        f"{HOME}.filter:filter_rows",
        "Print the paths of the media whose scores meet every condition, in input order.",
    ),
    LazyCommand(
        "leaderboard",
        f"{HOME}.leaderboard:leaderboard",
        "Rank generators over the prompts that all of them have, and say what is significant.",
    ),
    LazyCommand(
        "report",
        f"{HOME}.report:report_page",
        "Write scored files as one HTML page: pictures, tables and plots, to be opened offline.",
    ),
    LazyCommand(
        "evaluate",
        f"{HOME}.evaluate:evaluate",
        "Measure accuracy and calibration on preferences; each media file is scored once.",
    ),
    LazyCommand(
        "calibrate",
        f"{HOME}.calibrate:calibrate",
        "Fit calibration.json on a tenth of the pairs; shows what it changes on the rest.",
    ),
    LazyCommand(
        "train",
        f"{HOME}.train:train",
        "Train on preferences; OUTPUT keeps the checkpoint that is best on held-out pairs.",
    ),
    LazyCommand(
        "serve",
        f"{HOME}.serve:serve",
        "Score over HTTP: POST /score and /compare; GET /health, /rewards, /metrics,"
        " /openapi.json.",
    ),
    LazyCommand(
        "bench",
        f"{HOME}.bench:bench",
        "Measure images/s of each stage on this machine, and end to end, on pictures it makes.",
    ),
    LazyCommand(
        "info",
        f"{HOME}.info:info",
        "Show the model, device, dtype, attention, kernel and calibrator, and why each was chosen.",
    ),
]


def _version(asked: bool) -> None:
    if asked:
        from librehps import __version__

        print(f"librehps {__version__}")
        raise typer.Exit


def _empty_app(cls: type[LazyGroup] | None = None) -> typer.Typer:
    """Return the app without commands."""
    app = typer.Typer(
        name="librehps",
        cls=cls,
        help="Score generated images and short videos against their prompts, and decide by the"
        " scores.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(root)
    return app


def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


def every_command() -> typer.Typer:
    """Return the app with every command imported, for what walks all flags (docs/cli.md)."""
    loaded = _empty_app()
    for command in COMMANDS:
        loaded.command(command.name)(command.load())
    return loaded


app = _empty_app(LazyGroup)
add_lazily(app, COMMANDS)


def main() -> None:
    """Run the command line; every error becomes a line, a hint and an exit code."""
    try:
        # Not standalone: Typer would draw a box around usage errors.
        sys.exit(app(standalone_mode=False))
    except LibreHPSError as error:
        from librehps_cli.ui.errors import report

        sys.exit(report(error))
    except COMMAND_LINE_ERRORS as error:
        from librehps_cli.ui.errors import report_command_line

        sys.exit(report_command_line(error))
