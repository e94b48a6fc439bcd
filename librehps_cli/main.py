"""The app: the name and one-line help of each command, and the one place that catches errors."""

import atexit
import gc
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer

from librehps.errors import LibreHPSError
from librehps_cli.ui.help import epilog
from librehps_cli.ui.lazy_commands import LazyCommand, LazyGroup, add_lazily, add_loaded
from librehps_cli.ui.streams import ReaderLeftError, guard_streams

# Click's ClickException: Typer exports the class of the errors of one option alone.
COMMAND_LINE_ERRORS: Any = (typer.BadParameter.__mro__[2], typer.Abort)
FATAL = 1
HOME = "librehps_cli.commands"
EXAMPLES = (
    "librehps score examples/media -m tiny --prompt-from sidecar",
    "librehps info -m tiny",
)
COMMANDS = [
    LazyCommand("score", f"{HOME}.score:score", "Score images and videos against their prompts."),
    LazyCommand(
        "prompts",
        f"{HOME}.prompts:prompts",
        "List the prompt that each item would be scored against, without loading a model.",
    ),
    LazyCommand(
        "compare",
        f"{HOME}.compare:compare",
        "Compare two or more images or videos of one prompt, or each row of a file of pairs.",
    ),
    LazyCommand(
        "explain",
        f"{HOME}.explain:explain",
        "Show what each word of the prompt and each region or frame does to a score.",
    ),
    LazyCommand(
        "best-of-n",
        f"{HOME}.best_of_n:best_of_n",
        "Print the best item of each group: of a prompt, a folder or a column.",
    ),
    LazyCommand(
        "filter",
        f"{HOME}.filter:filter_rows",
        "Print the paths of the media whose scores meet every condition.",
    ),
    LazyCommand(
        "tag",
        f"{HOME}.tag:tag",
        "Write ratings of 1 to 5 stars (xmp:Rating) for picture tools, by quantile in the prompt.",
    ),
    LazyCommand(
        "leaderboard",
        f"{HOME}.leaderboard:leaderboard",
        "Rank generators over the prompts that they share, with tests of significance.",
    ),
    LazyCommand(
        "report",
        f"{HOME}.report:report_page",
        "Write scored files as one offline HTML page with pictures, tables and plots.",
    ),
    LazyCommand(
        "judge",
        f"{HOME}.judge:judge",
        "Judge pairs of media on a local page, and write a file for evaluate, calibrate and train.",
    ),
    LazyCommand(
        "evaluate",
        f"{HOME}.evaluate:evaluate",
        "Measure how well scores agree with people's preferences: accuracy and calibration.",
    ),
    LazyCommand(
        "calibrate",
        f"{HOME}.calibrate:calibrate",
        "Fit calibration.json on a tenth of the pairs, and measure it on the rest.",
    ),
    LazyCommand(
        "train",
        f"{HOME}.train:train",
        "Train a model on preferences, and keep the best checkpoint on held-out pairs.",
    ),
    LazyCommand(
        "serve",
        f"{HOME}.serve:serve",
        "Serve scores over HTTP: POST /score and /compare.",
    ),
    LazyCommand(
        "bench",
        f"{HOME}.bench:bench",
        "Measure the speed of each stage on this machine, in images per second.",
    ),
    LazyCommand(
        "info",
        f"{HOME}.info:info",
        "Show the model, device and settings that would be used, and why.",
    ),
]


def _version(is_given: bool) -> None:
    if is_given:
        from librehps import __version__

        print(f"librehps {__version__}")
        raise typer.Exit


def _empty_app(cls: type[LazyGroup] | None = None) -> typer.Typer:
    """Return the app without commands."""
    app = typer.Typer(
        name="librehps",
        cls=cls,
        help="Score generated images and short videos against their prompts, then filter, rank and"
        " compare them by these scores.",
        epilog=epilog(EXAMPLES),
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
    """Return the app with every command imported, for tools that read all flags (docs/cli.md)."""
    loaded = _empty_app()
    for command in COMMANDS:
        add_loaded(loaded, command)
    return loaded


app = _empty_app(LazyGroup)
add_lazily(app, COMMANDS)


def main() -> None:
    """Run the command line; every error becomes a line, a hint and an exit code."""
    guard_streams()
    # At its end the interpreter would look for garbage among all objects of torch.
    atexit.register(gc.freeze)
    code = _reported(_run)
    # Also after an error, since the interpreter's own flush would end in a traceback.
    sys.exit(_reported(sys.stdout.flush) or code)


def _run() -> Any:
    try:
        # Not standalone: Typer would draw a box around usage errors.
        return app(standalone_mode=False)
    except COMMAND_LINE_ERRORS as error:
        from librehps_cli.ui.errors import report_command_line

        return report_command_line(error)


def _reported(step: Callable[[], Any]) -> Any:
    """Return what the step returns, or the exit code of its error."""
    try:
        return step()
    except LibreHPSError as error:
        from librehps_cli.ui.errors import report

        return report(error)
    except ReaderLeftError:
        return FATAL
    except OSError as error:
        # The system refuses: a name is too long, a disk is full, a folder not permitted.
        if error.errno is None:
            raise
        from librehps_cli.ui.errors import report_system

        return report_system(error)
