"""The app: registration, and the one error boundary."""

import sys
from typing import Annotated

import typer

from librehps.errors import LibreHPSError
from librehps_cli.commands.bench import bench
from librehps_cli.commands.best_of_n import best_of_n
from librehps_cli.commands.calibrate import calibrate
from librehps_cli.commands.compare import compare
from librehps_cli.commands.evaluate import evaluate
from librehps_cli.commands.filter import filter_rows
from librehps_cli.commands.info import info
from librehps_cli.commands.leaderboard import leaderboard
from librehps_cli.commands.report import report_page
from librehps_cli.commands.score import score
from librehps_cli.commands.serve import serve
from librehps_cli.commands.train import train
from librehps_cli.ui.errors import report

app = typer.Typer(
    name="librehps",
    help="Score generated images and short videos against their prompts, and decide by the scores.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("score")(score)
app.command("compare")(compare)
app.command("best-of-n")(best_of_n)
app.command("filter")(filter_rows)
app.command("leaderboard")(leaderboard)
app.command("report")(report_page)
app.command("evaluate")(evaluate)
app.command("calibrate")(calibrate)
app.command("train")(train)
app.command("serve")(serve)
app.command("bench")(bench)
app.command("info")(info)


def _version(asked: bool) -> None:
    if asked:
        from librehps import __version__

        print(f"librehps {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line; the library's errors become a message and an exit code."""
    try:
        app()
    except LibreHPSError as error:
        sys.exit(report(error))
