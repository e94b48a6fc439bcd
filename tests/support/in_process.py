"""Runs `librehps ARGS` within this process, with what its user would see of a process of its own.

Importing torch and loading a model take most of the time of a short command. Here they are paid
once: `LibreHPS.from_pretrained` of the two checkpoints of the tests is remembered by its arguments,
and the warnings of that load are said again. Commands that must be a process (signals, pipes,
kills, encodings) are in tests/process.
"""

import io
import logging
import os
import subprocess
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import IO, Any
from unittest import mock

from paths import CHECKPOINT

REMEMBERED = ("tiny", str(CHECKPOINT))
# (arguments) -> (model, warnings of its load)
_models: dict[tuple[tuple[str, str], ...], tuple[Any, list[logging.LogRecord]]] = {}


def run(
    arguments: tuple[object, ...], stdin: str = "", **environment: str
) -> subprocess.CompletedProcess[str]:
    """The exit code and all output of `librehps ARGUMENTS`; stdin, stdout and stderr are files."""
    words = ["librehps", *map(str, arguments)]
    with ExitStack() as stack:
        given, out, err = (stack.enter_context(tempfile.TemporaryFile()) for _ in range(3))
        given.write(stdin.encode())
        given.seek(0)
        with _streams(given, out, err), _surroundings(words, environment):
            code = _exit_code()
        return subprocess.CompletedProcess(words, code, _text(out), _text(err))


def _exit_code() -> int:
    """Runs main() as the interpreter runs a program."""
    from librehps_cli.main import main

    try:
        main()
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        print(end.code, file=sys.stderr)
        return 1
    except Exception:  # noqa: BLE001 - what the interpreter does with an error that nobody caught
        traceback.print_exc()
        return 1
    return 0


@contextmanager
def _streams(*files: IO[bytes]) -> Iterator[None]:
    """The three standard streams are these files, for Python and for libraries in C."""
    _flush()
    kept = [os.dup(number) for number in range(3)]
    before = sys.stdin, sys.stdout, sys.stderr
    try:
        for number, file in enumerate(files):
            os.dup2(file.fileno(), number)
        # Named here too: an interpreter keeps its first streams whatever takes their place.
        ours = _stream(0, "r", "strict"), _stream(1, "w", "strict"), _stream(2, "w")
        sys.stdin, sys.stdout, sys.stderr = ours
        yield
    finally:
        _flush()
        sys.stdin, sys.stdout, sys.stderr = before
        for number, copy in enumerate(kept):
            os.dup2(copy, number)
            os.close(copy)


def _flush() -> None:
    sys.stdout.flush()
    sys.stderr.flush()


def _stream(number: int, mode: str, errors: str = "backslashreplace") -> IO[str]:
    raw = open(number, f"{mode}b", closefd=False)  # noqa: SIM115 - lives as long as the run
    return io.TextIOWrapper(raw, "utf-8", errors, line_buffering=number == 2)


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="surrogateescape").replace("\r\n", "\n")


def forget() -> None:
    """Drop the models, whose readers end their children while the interpreter is whole."""
    _models.clear()


@contextmanager
def _surroundings(words: list[str], environment: dict[str, str]) -> Iterator[None]:
    """Arguments, environment, warnings and loggers as of a new interpreter; all given back."""
    from librehps import LibreHPS

    logger = logging.getLogger("librehps")
    handlers, propagate, level = logger.handlers, logger.propagate, logger.level
    remembered = _remembered(LibreHPS.from_pretrained)
    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(sys, "argv", words))
        stack.enter_context(mock.patch.dict(os.environ, {"COLUMNS": "120", **environment}))
        stack.enter_context(mock.patch.object(LibreHPS, "from_pretrained", remembered))
        stack.enter_context(warnings.catch_warnings())
        warnings.showwarning = _show_warning
        warnings.resetwarnings()
        for kind in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
            warnings.simplefilter("ignore", kind)
        try:
            yield
        finally:
            logger.handlers, logger.propagate = handlers, propagate
            logger.setLevel(level)


def _show_warning(
    message: Warning | str, category: type[Warning], filename: str, line: int, *_: Any
) -> None:
    sys.stderr.write(warnings.formatwarning(message, category, filename, line))


def _remembered(load: Callable[..., Any]) -> Callable[..., Any]:
    """`load`, but from memory where a checkpoint of the tests was loaded so before."""

    def from_pretrained(path_or_id: Any, **arguments: Any) -> Any:
        if str(path_or_id) not in REMEMBERED:
            return load(path_or_id, **arguments)
        named = {"path_or_id": path_or_id, **arguments, "download": None}
        key = tuple(sorted((name, str(value)) for name, value in named.items()))
        if key in _models:
            model, said = _models[key]
            for record in said:
                logging.getLogger(record.name).handle(record)
        else:
            with _heard() as said:
                model = load(path_or_id, **arguments)
            _models[key] = model, said
        return model

    return from_pretrained


@contextmanager
def _heard() -> Iterator[list[logging.LogRecord]]:
    """The warnings of the library, while they are said."""
    said: list[logging.LogRecord] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = said.append  # type: ignore[method-assign]
    logger = logging.getLogger("librehps")
    logger.addHandler(handler)
    try:
        yield said
    finally:
        logger.removeHandler(handler)
