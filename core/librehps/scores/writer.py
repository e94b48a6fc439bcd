"""Which sink writes an output file."""

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
    """Raise UsageError for a file that exists, or that cannot be an output."""
    check_suffix(output)
    check_free(output, overwrite)


def check_suffix(output: Path) -> None:
    """Raise UsageError for a suffix that names no format, a folder, or a folder that is not."""
    check_file(output, SINKS, "use .parquet, .jsonl, or - for stdout")


def open_sink(
    output: Path,
    settings: Settings,
    columns: Mapping[str, str] | None = None,
    request: Mapping[str, Any] | None = None,
) -> Sink:
    """The sink for the file's suffix, to be used in a `with` block; `request` is kept in it."""
    return SINKS[output.suffix.lower()](output, settings, columns, request)
