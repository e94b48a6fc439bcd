"""The columns of an output file, and which sink writes them."""

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from librehps.errors import OutputError, UsageError
from librehps.settings import Settings
from librehps.types import AXES

Record = Mapping[str, Any]

SUFFIXES = (".parquet", ".jsonl")

TEXT, REAL, INTEGER, INTEGERS = "text", "real", "integer", "integers"
COLUMNS: dict[str, str] = {
    "id": TEXT,
    "media": TEXT,
    "kind": TEXT,
    "prompt": TEXT,
    "group": TEXT,
    **dict.fromkeys(AXES, REAL),
    **{f"{axis}_mu": REAL for axis in AXES},
    "width": INTEGER,
    "height": INTEGER,
    "frames": INTEGERS,
    "status": TEXT,
    "error_type": TEXT,
    "error": TEXT,
    "settings": TEXT,
}


class Sink(Protocol):
    """Takes records; whole on disk once the `with` block ends without an error.

    After an error, what was written lies beside the output as `OUT.partial`.
    """

    def write(self, record: Record) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


def check_output(output: Path, overwrite: bool) -> None:
    """Raise UsageError for a file that exists, or whose suffix names no format."""
    if output.suffix.lower() not in SUFFIXES:
        raise UsageError(f"{output}: an output ends in .parquet or .jsonl, or is - for stdout")
    if output.exists() and not overwrite:
        raise UsageError(f"{output} exists", hint="Give another name, or --overwrite.")
    if not output.absolute().parent.is_dir():
        raise UsageError(f"the folder of {output} does not exist")


def open_sink(output: Path, settings: Settings) -> Sink:
    """The sink for the file's suffix; raises OutputError where it cannot be written."""
    from librehps.sink.jsonl import JsonlSink
    from librehps.sink.parquet import ParquetSink

    kind = ParquetSink if output.suffix.lower() == ".parquet" else JsonlSink
    try:
        return kind(output, settings)
    except OSError as error:
        raise OutputError(f"{output} cannot be written: {error.strerror}") from error


def partial_of(output: Path) -> Path:
    """Where an output grows until it is whole."""
    return output.with_name(output.name + ".partial")
