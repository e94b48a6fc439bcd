"""Errors on the command line: a message, a hint and an exit code for each."""

import os
import sys
from typing import TYPE_CHECKING, Any

import typer

from librehps.errors import (
    CalibrationError,
    DownloadNeededError,
    EngineError,
    ExtraNeededError,
    ItemError,
    LibreHPSError,
    ModelError,
    NothingScoredError,
    OutageError,
    OutputError,
    PreferenceError,
    RewardServerError,
    ServeError,
    StorageError,
    TrainingError,
    UsageError,
)
from librehps.storage.places import shown
from librehps_cli.ui.output import Output, safe

if TYPE_CHECKING:
    from librehps.items.passed_over import PassedOver

OK, FATAL, USAGE, SOME_ERRORS, INTERRUPTED = 0, 1, 2, 3, 130

EXIT_CODES: dict[type[LibreHPSError], int] = {
    UsageError: USAGE,
    DownloadNeededError: USAGE,
    ModelError: FATAL,
    CalibrationError: FATAL,
    PreferenceError: FATAL,
    TrainingError: FATAL,
    ExtraNeededError: FATAL,
    RewardServerError: FATAL,
    NothingScoredError: FATAL,
    OutputError: FATAL,
    ServeError: FATAL,
    EngineError: FATAL,
    StorageError: FATAL,
    OutageError: FATAL,
    ItemError: FATAL,
}


def report(error: LibreHPSError) -> int:
    """Print the error and its hint to stderr; return the exit code."""
    # A URL that the user gave may hold a password or a signature, and stderr is often kept.
    message = "\n".join(map(safe, shown(error).split("\n")))
    print(f"error: {message}", file=sys.stderr)
    if error.hint:
        print(f"hint: {safe(shown(error.hint))}", file=sys.stderr)
    return exit_code_of(error)


def exit_code_of(error: LibreHPSError) -> int:
    """Return the exit code of a command that ends with the error."""
    return next((code for kind, code in EXIT_CODES.items() if isinstance(error, kind)), FATAL)


def report_json(message: str, hint: str | None) -> None:
    """Print an error of a server with --log-format json, as a line of its log."""
    from librehps.serve.logs import JsonFormatter, error_record

    # A URL that the user gave may hold a password or a signature, and logs are kept.
    record = error_record(shown(message), hint and shown(hint))
    print(JsonFormatter().format(record), file=sys.stderr)


def report_system(error: OSError) -> int:
    """Print the file and the reason of an error of the operating system; return the exit code."""
    place = "" if error.filename is None else f"{safe(str(error.filename))}: "
    print(f"error: {place}{error.strerror}", file=sys.stderr)
    return FATAL


def report_command_line(error: Any) -> int:
    """Print an error of Typer (an invalid option, a missing argument) and return its exit code."""
    if isinstance(error, typer.Abort):
        print("aborted", file=sys.stderr)
        return FATAL
    if type(error).__name__ == "NoArgsIsHelpError":
        # The message is the help page of the group.
        typer.echo(error.format_message())
    else:
        context = getattr(error, "ctx", None)
        message = error.format_message().replace(": Value error, ", ": ")
        message = " ".join(safe(message + _variable_of(error)).split())
        hint = None if context is None else f"Run: {context.command_path} --help"
        if context is not None and context.params.get("log_format") == "json":
            report_json(message, hint)
            return int(error.exit_code)
        print(f"error: {message}", file=sys.stderr)
        if hint:
            print(f"hint: {hint}", file=sys.stderr)
    return int(error.exit_code)


def _variable_of(error: Any) -> str:
    """Return the environment variable that gave an invalid value, as the end of a message."""
    context, option = getattr(error, "ctx", None), getattr(error, "param", None)
    if context is None or option is None or option.envvar is None:
        return ""
    source = context.get_parameter_source(option.name)
    if source is None or source.name != "ENVIRONMENT":
        return ""
    names = [option.envvar] if isinstance(option.envvar, str) else option.envvar
    return f" (from {next(name for name in names if os.environ.get(name))})"


def row_error(name: object, error: str, kind: object) -> str:
    """Return the line for a row with an error; a name that begins the error is not repeated."""
    begins = error.startswith((f"{name} ", f"{name}:"))
    return f"{error} ({kind})" if begins else f"{name}: {error} ({kind})"


def exit_code(ok: int, failed: int) -> int:
    """Return 0 if every item was scored, 1 if none was, 3 if some were."""
    if not failed:
        return OK
    return SOME_ERRORS if ok else FATAL


def print_unread(passed_over: "PassedOver", out: Output) -> int:
    """Print the folders that could not be read, whose files have no rows; return their number."""
    if passed_over.unreadable_folders:
        out.error(passed_over.unreadable_note())
    return len(passed_over.unreadable_folders)
