"""Errors of the library become a message, a hint and an exit code."""

import sys

from librehps.errors import (
    CalibrationError,
    DownloadNeededError,
    EngineError,
    ExtraNeededError,
    ItemError,
    LibreHPSError,
    ModelError,
    NothingScoredError,
    OutputError,
    PreferenceError,
    RewardServerError,
    ServeError,
    TrainingError,
    UsageError,
)
from librehps_cli.ui.output import safe

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
    ItemError: FATAL,
}


def report(error: LibreHPSError) -> int:
    """Print the error to stderr; gives the exit code."""
    message = "\n".join(map(safe, str(error).split("\n")))
    print(f"error: {message}", file=sys.stderr)
    if error.hint:
        print(f"hint: {safe(error.hint)}", file=sys.stderr)
    return next((code for kind, code in EXIT_CODES.items() if isinstance(error, kind)), FATAL)


def exit_code(ok: int, failed: int) -> int:
    """0 all scored, 1 none, 3 some."""
    if not failed:
        return OK
    return SOME_ERRORS if ok else FATAL
