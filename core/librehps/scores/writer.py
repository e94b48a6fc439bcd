"""The choice of the sink for an output file, and checks of the file name."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from librehps.files import check_file, check_free
from librehps.scores.jsonl import JsonlSink
from librehps.scores.parquet import ParquetSink
from librehps.scores.sink import Sink
from librehps.settings import Settings

SINKS: dict[str, type[JsonlSink] | type[ParquetSink]] = {
    ".parquet": ParquetSink,
    ".jsonl": JsonlSink,
}


def check_output(output: Path, overwrite: bool) -> None:
    """Raise UsageError for a file that exists, or that cannot be an output file."""
    check_suffix(output)
    check_free(output, overwrite)


def check_suffix(output: Path) -> None:
    """Raise UsageError for an unsupported suffix, a folder, or a file in a missing folder."""
    check_file(output, SINKS, "use .parquet, .jsonl, or - for stdout")


def open_sink(
    output: Path,
    settings: Settings,
    columns: Mapping[str, str] | None = None,
    request: Mapping[str, Any] | None = None,
) -> Sink:
    """Return the sink for the file's suffix, a context manager; the file stores `request`."""
    return SINKS[output.suffix.lower()](output, settings, columns, request)
