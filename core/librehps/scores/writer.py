"""The choice of the sink for an output file, and checks of the file name."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from librehps.errors import UsageError
from librehps.files import PARTIAL, check_file, check_free
from librehps.scores.jsonl import JsonlSink
from librehps.scores.markers import JOURNAL_SUFFIX, SETTINGS_SUFFIX
from librehps.scores.sink import Sink
from librehps.settings import Settings
from librehps.storage.url_path import AnyPath

PARQUET, JSONL = ".parquet", ".jsonl"
FORMATS = "use .parquet, .jsonl, or - for stdout"
TABLE_FORMATS = "use .parquet, .jsonl, .csv, .tsv, or - for stdout"
# A run keeps its rows as .parquet or .jsonl, from which it can go on.
CSV_HINT = "CSV is written from scores: librehps filter scores.parquet --ok-only -o scores.csv"


def check_output(output: AnyPath, overwrite: bool) -> None:
    """Raise UsageError for a file that exists, or that cannot be an output file."""
    if isinstance(output, Path):
        check_suffix(output)
    else:
        check_url_suffix(output)
    check_free(output, overwrite)


def check_table_output(output: AnyPath, overwrite: bool) -> None:
    """Raise UsageError like `check_output`, for an output that may also be CSV or TSV."""
    if output.suffix.lower() not in (".csv", ".tsv"):
        if output.suffix.lower() not in (PARQUET, JSONL):
            raise _unsupported(output, TABLE_FORMATS)
        check_output(output, overwrite)
        return
    if isinstance(output, Path):
        check_file(output)
    check_free(output, overwrite)


def check_url_suffix(output: AnyPath) -> None:
    """Raise UsageError for a URL that cannot be that of a scored file."""
    if output.suffix.lower() not in (PARQUET, JSONL):
        raise _unsupported(output, FORMATS)


def check_suffix(output: Path) -> None:
    """Raise UsageError for a path that cannot be a scored file, or have its journal next to it."""
    check_url_suffix(output)
    companions = (SETTINGS_SUFFIX + PARTIAL, JOURNAL_SUFFIX)
    check_file(output, companions=companions)


def _unsupported(output: AnyPath, formats: str) -> UsageError:
    suffix = output.suffix.lower()
    hint = CSV_HINT if suffix in (".csv", ".tsv") else None
    return UsageError(f"{output}: unsupported output format {suffix!r}: {formats}", hint=hint)


def open_sink(
    output: Path,
    settings: Settings,
    columns: Mapping[str, str] | None = None,
    request: Mapping[str, Any] | None = None,
    home: AnyPath | None = None,
) -> Sink:
    """Return the sink for the file's suffix, a context manager; the file stores `request`.

    `home` is the URL that the file is moved to.
    """
    if output.suffix.lower() == JSONL:
        return JsonlSink(output, settings, columns, request, home)
    # Imported here: a row on stdout needs no pyarrow.
    from librehps.scores.parquet import ParquetSink

    return ParquetSink(output, settings, columns, request, home)
